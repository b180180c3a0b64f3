"""DokuWiki from Debian's package, whole, by every way to run PHP: php-fpm, a pool of php-cgi, PHP inside the server.

Its own installer runs; then somebody logs in, writes a page, finds it by a word, and uploads a file, by HTTP alone and
once more in a real browser.
"""
import hashlib
import os

import pytest

import applications
import dokuwiki
import webdriver
from harness import wait_until

pytestmark = pytest.mark.skipif(not dokuwiki.is_installed(), reason="no dokuwiki here (tools/setup test)")
SETTINGS = {"upload_max_filesize": "32M", "post_max_size": "40M"}


@pytest.fixture
def wiki(make, beside):
    """wiki(way) starts a server with a DokuWiki that was just installed; returns the visitor."""
    def start(way, config=""):
        php, app = applications.start_php(beside, way, **SETTINGS)
        server = make(php + dokuwiki.CONFIG + config, files={"robots.txt": ""}, env=applications.PHP_ENV)
        dokuwiki.copy_to(server.path("htdocs"), app.owner)
        server.start()
        visitor = dokuwiki.Wiki(server)
        visitor.server = server
        visitor.install(server.path("htdocs"))
        return visitor

    return start


def random_file(n):
    return b"PK\x03\x04" + os.urandom(n)


@pytest.mark.parametrize("way", applications.php_ways())
def test_a_day_in_the_life_of_a_wiki(wiki, way):
    w = wiki(way)
    assert "This topic does not exist yet" in w.get("doku.php", id="start").text
    w.login()

    page = w.edit("test:garden", "====== The garden ======\n\nA //quincunx// of %s trees.\n" % "cherry")
    assert "<em>quincunx</em> of cherry trees" in page.text
    text = "====== The garden ======\n\nA //quincunx// of pear trees: ä€𝄞 & <b>.\n"
    page = w.edit("test:garden", text)
    assert "of pear trees: ä€𝄞 &amp; &lt;b&gt;" in page.text and "cherry" not in page.text
    raw = w.get("doku.php", id="test:garden", do="export_raw")
    assert raw.text.strip() == text.strip() and raw.headers["Content-Type"].startswith("text/plain")

    w.index("test:garden")
    wait_until("the indexer has seen the page", lambda: w.search("quincunx") == {"test:garden"})
    assert w.search("cherry") == set()

    content = random_file(3_000_000)
    w.upload("test", "tools.zip", content)
    got = w.download("test:tools.zip")
    assert got.status == 200 and hashlib.sha256(got.body).digest() == hashlib.sha256(content).digest()
    part = w.get("lib/exe/fetch.php", headers={"Range": "bytes=1000000-1999999"}, media="test:tools.zip")
    assert part.status == 206 and part.body == content[1_000_000:2_000_000]

    w.logout()


def revalidated(w):
    """The 304 that DokuWiki answers when its style sheet is asked for again; None when it was made anew."""
    style = w.get("lib/exe/css.php", t="dokuwiki")
    assert style.status == 200 and style.headers["Content-Type"].startswith("text/css")
    again = w.get("lib/exe/css.php", headers={"If-None-Match": style.headers["ETag"],
                                              "If-Modified-Since": style.headers["Last-Modified"]}, t="dokuwiki")
    assert again.status in (200, 304)
    return again if again.status == 304 else None


@pytest.mark.parametrize("way", applications.php_ways())
def test_what_a_wiki_keeps_to_itself(wiki, way):
    """Its files are refused, what it generates can be revalidated, and what it does not know is its own 404."""
    w = wiki(way)
    for path in ("conf/users.auth.php", "conf/local.php", "data/pages/", "inc/init.php", "data/cache/", "conf/"):
        assert w.get(path).status == 403, path
    again = wait_until("the style sheet is younger than what it is made from, by whole seconds", lambda: revalidated(w))
    assert again.body == b"" and again.headers["ETag"]
    assert w.get("lib/exe/fetch.php", media="no:such.zip").status == 404
    assert w.get("doku.php", id="no:such:page").status == 404
    assert w.get("no/such.php").status == 404


@pytest.mark.plain
@pytest.mark.skipif(not webdriver.is_installed(), reason="no chromium-driver here (tools/setup test)")
@pytest.mark.parametrize("way", applications.php_ways()[-1:])
def test_in_a_real_browser(wiki, beside, way):
    """Log in, write and save a page with Chromium: its connections, its caching, its scripts."""
    w = wiki(way)
    b = beside(webdriver.Chromium())
    b.go(w.base + "doku.php?id=start&do=login")
    b.type("#dw__login input[name=u]", w.USER)
    b.type("#dw__login input[name=p]", w.PASSWORD)
    b.click("#dw__login button[type=submit]")
    b.wait_for("#dokuwiki__header .user")

    b.go(w.base + "doku.php?id=test:browser&do=edit")
    b.wait_for(".toolbar button")  # made by DokuWiki's script: it has run
    b.type("#wiki__text", "====== Seen ======\n\nWritten by a //browser//.")
    b.click("#edbtn__save")
    b.wait_for_text("#dokuwiki__content h1", "Seen")
    b.wait_for_text("#dokuwiki__content em", "browser")
    # Everything that the page is made of comes: styles, scripts, pictures.
    wait_until("all pictures are there", lambda: b.run(
        "return [...document.images].every(i => i.complete && i.naturalWidth)"))
    assert b.run("return document.styleSheets.length") > 0
    assert b.run("return typeof jQuery") == "function"
    assert "Written by a //browser//" in w.get("doku.php", id="test:browser", do="export_raw").text
    assert [e for e in b.errors() if "id=start" not in e] == []  # there is no start page yet, and a 404 says so
