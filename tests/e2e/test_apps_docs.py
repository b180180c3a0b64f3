"""The configurations in docs/applications.md are configurations: each is given to the server."""
import os
import re

import pytest

import harness

PAGE = os.path.join(harness.TOP, "docs", "applications.md")
with open(PAGE, encoding="utf-8") as page:
    EXAMPLES = re.findall(r"^```httpd(-\w+)?\n(.*?)^```", page.read(), re.M | re.S)


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
    assert len(EXAMPLES) >= 6
