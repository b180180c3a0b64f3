"""The configurations in docs/applications.md and README.md are configurations: each is given to the server; and links lead somewhere."""
import os
import re

import pytest

import harness

pytestmark = pytest.mark.plain


def read(*path):
    with open(os.path.join(harness.TOP, *path), encoding="utf-8") as f:
        return f.read()


def commented_out(text):
    """The configuration in paragraphs of comments such as "#<FilesMatch …>"; words for people begin with "# "."""
    return re.sub(r"^(# \S.*|#)\n", "", text, flags=re.M).replace("#", "")


# Of README what is added to its first configuration, and what examples/conf has about applications.
EXAMPLES = re.findall(r"^```(?:httpd|apache)(-\w+)?\n(.*?)^```",
                      read("docs", "applications.md") + read("README.md").partition("### With PHP")[2].partition("\n## ")[0],
                      re.M | re.S)
EXAMPLES += [("", commented_out(part)) for part in
             re.findall(r"^# Applications.*?(?=^# Access log)", read("examples", "conf", "httpd.conf"), re.M | re.S)]


def is_missing(text):
    """A program that an example names and that this machine does not have."""
    return [path for path in re.findall(r"Command (\S+)", text) if not os.path.exists(path)]


@pytest.mark.parametrize("only,text", EXAMPLES, ids=[re.sub(r"\W+", "-", text)[:30] for _, text in EXAMPLES])
def test_example(make, only, text):
    if is_missing(text):
        pytest.skip("not installed: %s" % is_missing(text))
    if "php_module" in text and not os.path.exists(os.path.join(os.path.dirname(harness.MUSTER), "modules", "mod_php.so")):
        pytest.skip("mod_php was not built")
    if only and only != "-" + harness.MPM:
        result = make(text, mpm="").run("-t", "-c", "LoadModule mpm_%s_module modules/mod_mpm_%s.so" % (harness.MPM, harness.MPM))
        assert result.returncode != 0
        return
    result = make(text, mpm="" if only else None).run("-t")
    assert result.returncode == 0, result.stderr


def test_there_are_examples():
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize("page", ["README.md", "docs/applications.md"])
def test_links(page):
    folder = os.path.join(harness.TOP, os.path.dirname(page))
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", read(page))
    assert links and [link for link in links if not os.path.exists(os.path.join(folder, link))] == []
