"""Conditional requests and ranges over the wire."""
import email.utils
import os
import re

TEXT = b"0123456789abcdefghij"


def http_date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


def test_if_none_match(serve):
    server = serve(files={"a.txt": TEXT})
    os.utime(server.path("htdocs", "a.txt"), (1, 1000000000))  # the tag of a file of this second is weak for a while
    first = server.get("/a.txt")
    etag = first.headers["ETag"]
    fresh = server.get("/a.txt", {"If-None-Match": etag})
    assert (fresh.status, fresh.body, fresh.headers["ETag"]) == (304, b"", etag)
    assert server.get("/a.txt", {"If-None-Match": '"x", %s' % etag}).status == 304
    assert server.get("/a.txt", {"If-None-Match": "*"}).status == 304
    assert server.get("/a.txt", {"If-None-Match": '"x"'}).status == 200
    assert server.request("POST", "/a.txt", {"If-None-Match": "*"}).status == 412


def test_dates(serve):
    server = serve(files={"a.txt": TEXT})
    modified = email.utils.parsedate_to_datetime(server.get("/a.txt").headers["Last-Modified"]).timestamp()
    for name, seconds, status in (("If-Modified-Since", modified, 304), ("If-Modified-Since", modified - 1, 200),
                                  ("If-Unmodified-Since", modified, 200), ("If-Unmodified-Since", modified - 1, 412)):
        assert (name, server.get("/a.txt", {name: http_date(seconds)}).status) == (name, status)
    assert server.get("/a.txt", {"If-Modified-Since": "yesterday"}).status == 200


def test_precedence(serve):
    server = serve(files={"a.txt": TEXT})
    first = server.get("/a.txt")
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    old = http_date(0)
    assert server.get("/a.txt", {"If-None-Match": '"x"', "If-Modified-Since": modified}).status == 200
    assert server.get("/a.txt", {"If-None-Match": etag, "If-Modified-Since": old}).status == 304
    assert server.get("/a.txt", {"If-Match": "*", "If-Unmodified-Since": old}).status == 200
    assert server.get("/a.txt", {"If-Match": '"x"', "If-None-Match": etag}).status == 412


def test_single_ranges(serve):
    server = serve(files={"a.txt": TEXT, "big": TEXT * 50000})
    for spec, text, content_range in (("0-4", TEXT[:5], "bytes 0-4/20"), ("5-", TEXT[5:], "bytes 5-19/20"),
                                      ("-3", TEXT[-3:], "bytes 17-19/20"), ("18-99", TEXT[18:], "bytes 18-19/20")):
        answer = server.get("/a.txt", {"Range": "bytes=" + spec})
        assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, text, content_range)
    answer = server.get("/big", {"Range": "bytes=500000-500019"})
    assert (answer.status, answer.body) == (206, TEXT)
    refused = server.get("/a.txt", {"Range": "bytes=20-"})
    assert (refused.status, refused.headers["Content-Range"]) == (416, "bytes */20")
    for spec in ("items=0-4", "bytes=4-0", "bytes=x-y"):
        assert (spec, server.get("/a.txt", {"Range": spec}).status) == (spec, 200)


def test_multipart(serve):
    server = serve(files={"a.txt": TEXT})
    answer = server.get("/a.txt", {"Range": "bytes=0-1,-2"})
    assert answer.status == 206
    boundary = re.fullmatch("multipart/byteranges; boundary=(.+)", answer.headers["Content-Type"])[1].encode()
    parts = answer.body.split(b"\r\n--" + boundary)
    assert parts[0] == b"" and parts[3] == b"--\r\n"
    assert parts[1] == b"\r\nContent-type: text/plain\r\nContent-range: bytes 0-1/20\r\n\r\n01"
    assert parts[2] == b"\r\nContent-type: text/plain\r\nContent-range: bytes 18-19/20\r\n\r\nij"
    assert answer.headers["Content-Length"] == str(len(answer.body))


def test_if_range(serve):
    server = serve(files={"a.txt": TEXT})
    os.utime(server.path("htdocs", "a.txt"), (1, 1000000000))
    strong = server.get("/a.txt").headers["ETag"]
    assert server.get("/a.txt", {"Range": "bytes=0-1", "If-Range": strong}).status == 206
    assert server.get("/a.txt", {"Range": "bytes=0-1", "If-Range": http_date(1000000000)}).status == 206
    assert server.get("/a.txt", {"Range": "bytes=0-1", "If-Range": '"x"'}).status == 200
    assert server.get("/a.txt", {"Range": "bytes=0-1", "If-Range": http_date(0)}).status == 200


def test_limits(serve):
    server = serve("MaxRanges 2", files={"a.txt": TEXT})
    assert server.get("/a.txt", {"Range": "bytes=0-0,2-2"}).status == 206
    assert server.get("/a.txt", {"Range": "bytes=0-0,2-2,4-4"}).status == 200
    none = serve("MaxRanges none", files={"a.txt": TEXT}).get("/a.txt", {"Range": "bytes=0-0"})
    assert (none.status, none.headers["Accept-Ranges"]) == (200, "none")
