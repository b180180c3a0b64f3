"""mod_autoindex: who may see a listing, what it holds, how it is sent."""
import os
import re

import harness
import pytest

LISTED = """
<Directory "{root}/htdocs">
    Options +Indexes +FollowSymLinks
    AllowOverride None
</Directory>
"""
FILES = {"list/b.txt": "bb", "list/a.txt": "a", "list/it's.txt": "", "list/sub/x.txt": "x"}


def names(response):
    """What the rows of a listing link to, in order; column heads are not among them."""
    return [n for n in re.findall(r'<a href="([^"?]+)">', response.body.decode()) if n]


def test_plain_listing_byte_for_byte(serve):
    s = serve(LISTED, files=FILES)
    r = s.get("/list/")
    assert (r.status, r.headers["Content-Type"]) == (200, "text/html;charset=ISO-8859-1")
    assert r.body.decode() == (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">\n'
        "<html>\n <head>\n  <title>Index of /list</title>\n </head>\n <body>\n<h1>Index of /list</h1>\n"
        '<ul><li><a href="/"> Parent Directory</a></li>\n'
        '<li><a href="a.txt"> a.txt</a></li>\n<li><a href="b.txt"> b.txt</a></li>\n'
        '<li><a href="it\'s.txt"> it\'s.txt</a></li>\n<li><a href="sub/"> sub/</a></li>\n</ul>\n</body></html>\n')
    assert int(r.headers["Content-Length"]) == len(r.body)


def test_refused_without_indexes(serve):
    s = serve('<Directory "{root}/htdocs">\n    Options -Indexes\n</Directory>\n'
              '<Directory "{root}/htdocs/open">\n    Options +Indexes\n</Directory>',
              files={"shut/a.txt": "a", "open/b.txt": "b"})
    assert s.get("/shut/").status == 403
    assert s.get("/open/").status == 200
    line = next(line for line in s.error_log().splitlines() if "MU1100" in line)
    assert "[autoindex:error]" in line and "/htdocs/shut" in line and "(index.html)" in line


def test_an_index_page_comes_before_the_listing(serve):
    s = serve(LISTED, files={"list/index.html": "page", "list/a.txt": "a"})
    assert s.get("/list/").body == b"page"


def test_order_and_format_by_query(serve):
    s = serve(LISTED + "IndexOptions FancyIndexing", files={"l/1.txt": "333", "l/2.txt": "1", "l/3.txt": "22"})
    assert names(s.get("/l/")) == ["/", "1.txt", "2.txt", "3.txt"]
    assert names(s.get("/l/?C=S;O=A")) == ["/", "2.txt", "3.txt", "1.txt"]
    assert names(s.get("/l/?C=N;O=D")) == ["/", "3.txt", "2.txt", "1.txt"]
    assert names(s.get("/l/?P=[12]*")) == ["/", "1.txt", "2.txt"]
    assert b"<pre>" in s.get("/l/").body
    assert b"<ul>" in s.get("/l/?F=0").body
    table = s.get("/l/?F=2").body
    assert b"<table>" in table and b"?C=N;O=D;F=2" in table


def test_entries_are_checked_as_if_asked_for(serve):
    s = serve(LISTED + """
<FilesMatch "^secret">
    Require all denied
</FilesMatch>
<Location "/list/private/">
    Require all denied
</Location>
<Directory "{root}/htdocs/shown">
    IndexOptions ShowForbidden
</Directory>
""", files={"list/secret.txt": "s", "list/private/x": "x", "list/a.txt": "a", "shown/secret.txt": "s"})
    assert names(s.get("/list/")) == ["/", "a.txt"]
    assert names(s.get("/shown/")) == ["/", "secret.txt"]
    assert s.get("/shown/secret.txt").status == 403


def test_links(make):
    s = make(LISTED + '<Directory "{root}/htdocs/strict">\n    Options -FollowSymLinks\n</Directory>',
             files={"list/a.txt": "a", "strict/a.txt": "a"})
    for folder in ("list", "strict"):
        os.symlink("a.txt", s.path("htdocs", folder, "link.txt"))
        os.symlink("nowhere", s.path("htdocs", folder, "broken"))
        os.symlink("..", s.path("htdocs", folder, "up"))
        os.mkfifo(s.path("htdocs", folder, "fifo"))
    s.start()
    assert names(s.get("/list/")) == ["/", "a.txt", "link.txt", "up/"]
    assert names(s.get("/strict/")) == ["/", "a.txt"]


def test_header_and_readme(serve):
    s = serve(LISTED + """
<Directory "{root}/htdocs/text">
    HeaderName HEADER.txt
    ReadmeName README.html
    IndexIgnore HEADER* README*
</Directory>
<Directory "{root}/htdocs/page">
    HeaderName /parts/head.html
    ReadmeName /parts/denied.html
    IndexOptions SuppressHTMLPreamble
</Directory>
<Files "denied.html">
    Require all denied
</Files>
""", files={"text/HEADER.txt": "<1 & 2>", "text/README.html": "<p>end</p>\n", "text/a.txt": "a",
            "parts/head.html": "<html><body>mine\n", "parts/denied.html": "never", "page/b.txt": "b"})
    r = s.get("/text/")
    assert b"<pre>\n&lt;1 &amp; 2&gt;</pre>\n<ul>" in r.body
    assert r.body.endswith(b"</ul>\n<p>end</p>\n</body></html>\n")
    assert names(r) == ["/", "a.txt"]
    r = s.get("/page/")
    assert r.body.startswith(b"<html><body>mine\n<ul>")
    assert b"never" not in r.body
    # The page around it is not the answer: neither its validators nor the client's conditions count.
    r = s.get("/page/", {"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT", "Range": "bytes=0-3"})
    assert r.status == 200 and r.body.startswith(b"<html><body>mine\n<ul>")


def test_head_and_range(serve):
    s = serve(LISTED, files=FILES)
    r = s.request("HEAD", "/list/")
    assert (r.status, r.body, r.headers["Content-Type"]) == (200, b"", "text/html;charset=ISO-8859-1")
    whole = s.get("/list/").body
    r = s.get("/list/", {"Range": "bytes=10-19"})
    assert (r.status, r.body) == (206, whole[10:20])


def test_track_modified(serve):
    s = serve(LISTED + "IndexOptions TrackModified", files=FILES)
    os.utime(s.path("htdocs", "list"), (1000000000, 1000000000))
    r = s.get("/list/")
    assert r.headers["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    etag = r.headers["ETag"]
    assert s.get("/list/", {"If-None-Match": etag}).status == 304
    s.write("htdocs/list/new.txt", "n")
    r = s.get("/list/", {"If-None-Match": etag})
    assert r.status == 200 and "new.txt" in names(r)


def test_a_directory_that_cannot_be_read(make):
    s = make(LISTED, files={"list/a.txt": "a"})
    os.chmod(s.path("htdocs", "list"), 0o311)
    if harness.unprivileged() is None and os.access(s.path("htdocs", "list"), os.R_OK):
        pytest.skip("everything can be read here")
    s.start()
    assert s.get("/list/").status == 403
    assert s.get("/list/a.txt").body == b"a"
    assert "MU1101" in s.error_log()
    os.chmod(s.path("htdocs", "list"), 0o755)
    assert names(s.get("/list/")) == ["/", "a.txt"]


def test_a_huge_directory_is_streamed_whole(serve):
    s = serve(LISTED + "IndexOptions FancyIndexing NameWidth=*", files={"index.html": "home\n"})
    wanted = ["file-with-a-long-name-%05d.txt" % i for i in range(2500)]
    os.makedirs(s.path("htdocs", "huge"))
    for name in wanted:
        os.close(os.open(s.path("htdocs", "huge", name), os.O_CREAT | os.O_WRONLY, 0o644))
    client = s.client()
    client.request("GET", "/huge/")
    answer = client.getresponse()
    body = answer.read()
    assert answer.status == 200
    assert re.findall(r'<a href="(file[^"]+)">', body.decode()) == wanted
    client.request("GET", "/")      # the connection is as good as before
    assert client.getresponse().read() == b"home\n"
    client.close()


def test_a_client_that_leaves_in_the_middle(serve):
    s = serve(LISTED + "IndexOptions FancyIndexing NameWidth=*", files={"a.txt": "a\n"})
    os.makedirs(s.path("htdocs", "huge"))
    for i in range(1500):
        os.close(os.open(s.path("htdocs", "huge", "x" * 200 + "%05d" % i), os.O_CREAT | os.O_WRONLY, 0o644))
    for _ in range(5):
        with s.connect() as c:
            c.sendall(b"GET /huge/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert c.recv(1000).startswith(b"HTTP/1.1 200")
    assert s.get("/a.txt").body == b"a\n"
    assert len(names(s.get("/huge/"))) == 1501
