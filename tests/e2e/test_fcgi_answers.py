"""The FastCGI client: what an application says besides its body, and what the server makes of it: stderr, statuses, redirects,
errors that the server answers for it, and files that it names (X-Sendfile)."""
import itertools
import os

import pytest

import applications
from applications import query
from fcgi_backend import (CANT_MPX_CONN, HEAD, OVERLOADED, STDERR, STDOUT, UNKNOWN_ROLE, Backend, end, log_lines, logged, record)
from harness import wait_until
from rawclient import Client


@pytest.fixture
def start(serve, beside):
    def run(config="", line='ProxyPass "/app/" "%s/"\n', **kwargs):
        b = beside(Backend("unix"))
        return b, serve(config + line % b.url, **kwargs)
    return run


def ask(s, b, *parts, path="/app/x", fields="", method="GET"):
    """One request that the backend answers by these bytes."""
    with Client(s) as client:
        client.get(path, fields, method)
        c = b.expect()
        c.read_body()
        c.send(*parts)
        return client.answer(method)


# ---- stderr ----

def said(s, words):
    """What the application said, as the log has it; waits for the line that holds `words`."""
    logged(s, words)
    return [line.partition(" says: ")[2] for line in log_lines(s, " says: ")]


def test_stderr_is_logged_line_by_line(start):
    """Cut anywhere, between and behind the parts of the answer; each line once, with the backend and the client."""
    b, s = start()
    a = ask(s, b, record(STDERR, "first line\nsec"), record(STDOUT, HEAD + "be"), record(STDERR, "ond line\r\n\n"), record(STDERR),
            record(STDOUT, "fore"), record(STDERR, "third\tline\nwithout an end"), record(STDOUT), record(STDERR), end())
    assert (a.status, a.body) == (200, b"before")
    assert said(s, "without an end") == ["first line", "second line", "third\\tline", "without an end"]
    for line in log_lines(s, " says: "):
        assert "[proxy_fcgi:error]" in line and "[client 127.0.0.1:" in line and b.name in line


def test_stderr_cannot_forge_lines_of_the_log(start):
    b, s = start()
    ask(s, b, record(STDERR, "a\r\x1b[2Jb\0c\x7f\n[Mon] [core:alert] forged\n"), record(STDOUT, HEAD + "x"), end())
    lines = said(s, "forged")
    assert len(lines) == 2 and lines[1] == "[Mon] [core:alert] forged"
    with open(s.path("logs/error.log"), "rb") as f:
        log = f.read()
    assert not any(byte in log for byte in (b"\x1b", b"\0", b"\r", b"\x7f"))
    assert all(b.name.encode() in line for line in log.splitlines() if b"forged" in line)


def test_a_long_line_and_a_flood_of_stderr(start):
    """Not a byte is lost, and the answer comes as ever."""
    b, s = start()
    a = ask(s, b, *[record(STDERR, "y" * 60_000) for _ in range(5)], record(STDERR, "\nthe end\n"), record(STDOUT, HEAD + "x"), end())
    assert a.body == b"x"
    lines = said(s, "the end")
    assert lines[-1] == "the end" and sum(len(line) for line in lines[:-1]) == 300_000
    assert set("".join(lines[:-1])) == {"y"}


def test_stderr_of_an_application_that_fails(start):
    """The reason is in the log before the complaint about the missing head."""
    b, s = start()
    assert ask(s, b, record(STDERR, "out of luck"), record(STDOUT), end(255)).status == 500
    wait_until("both lines are there", lambda: len(log_lines(s, b.name)) >= 2)
    assert "out of luck" in log_lines(s, b.name)[0] and "head" in log_lines(s, b.name)[1]


# ---- statuses ----

@pytest.mark.parametrize("status", [1, 255, 0xFFFFFFFF])
def test_an_application_status_is_no_error(start, status):
    b, s = start()
    a = ask(s, b, record(STDOUT, HEAD + "x"), record(STDOUT), end(status))
    assert (a.status, a.body) == (200, b"x")


@pytest.mark.parametrize("protocol,status,cause", [
    (CANT_MPX_CONN, 502, "a connection for each request"), (OVERLOADED, 503, "overloaded"), (UNKNOWN_ROLE, 502, "responder")])
def test_a_request_that_is_declined(start, protocol, status, cause):
    b, s = start()
    for parts in ((), (record(STDERR, "sorry\n"),), (record(STDOUT),)):
        a = ask(s, b, *parts, end(0, protocol))
        assert a.status == status and b"sorry" not in a.body
    logged(s, "[proxy_fcgi:error]", b.name, cause)
    assert ask(s, b, record(STDOUT, HEAD + "x"), end()).body == b"x"


def test_declined_in_the_middle_of_an_answer(start):
    """What was begun never looks complete."""
    b, s = start(line='ProxyPass "/app/" "%s/" flushpackets=on\n')
    with Client(s) as client:
        client.get("/app/x")
        c = b.expect()
        c.out(HEAD + "first")
        assert client.head().status == 200 and client.chunk() == b"first"
        c.send(end(0, OVERLOADED))
        assert client.is_closed()  # without the last chunk


def test_declined_before_anything_was_sent(start):
    b, s = start()
    a = ask(s, b, record(STDOUT, HEAD + "part"), end(0, OVERLOADED))
    assert a.status in (502, 503) and b"part" not in a.body


# ---- the head ----

@pytest.mark.parametrize("status", [200, 201, 204, 304, 404, 503, 599])
def test_status_and_body_belong_together(start, status):
    """The next answer on the client's connection is the next answer, whatever the application wrote."""
    b, s = start()
    for method, body in itertools.product(("GET", "HEAD", "POST"), (b"a body", b"")):
        with Client(s) as client:
            client.get("/app/x", "Content-Length: 0\r\n" if method == "POST" else "", method)
            b.expect().answer(body.decode(), "Status: %d Indeed\r\nX-Own: 1\r\nContent-Type: text/x\r\n\r\n" % status)
            a = client.answer(method)
            assert (a.status, a["X-Own"]) == (status, "1")
            assert a.body == (b"" if method == "HEAD" or status in (204, 304) else body)
            if a["Connection"] == "close":  # after a 503, as httpd does it
                assert client.is_closed()
            else:
                assert client.get("/index.html").answer().body == b"hello\n"


def test_fields_of_an_answer(start):
    b, s = start()
    a = ask(s, b, record(STDOUT, "Content-Type: text/html; charset=UTF-8\nSet-Cookie: a=1\nSet-Cookie: b=2\nX-Powered-By: a test\n"
                         "Cache-Control: no-store\nConnection: close\nTransfer-Encoding: chunked\nDate: never\n\nx"), end())
    assert [v for n, v in a.headers if n == "Set-Cookie"] == ["a=1", "b=2"]
    assert (a["Content-Type"], a["X-Powered-By"], a["Cache-Control"]) == ("text/html; charset=UTF-8", "a test", "no-store")
    assert (a.body, a["Content-Length"], a["Transfer-Encoding"], a["Connection"]) == (b"x", "1", None, None)
    assert a["Date"] != "never"


def test_redirects(start):
    """To a path: answered here, and the application is asked no more; to an address: the client's."""
    b, s = start()
    a = ask(s, b, record(STDOUT, "Location: /index.html\n\nnever seen"), end())
    assert (a.status, a.body, a["Location"]) == (200, b"hello\n", None)
    a = ask(s, b, record(STDOUT, "Location: https://example.org/x\n\nnever seen"), end())
    assert (a.status, a["Location"]) == (302, "https://example.org/x") and b"never seen" not in a.body
    a = ask(s, b, record(STDOUT, "Status: 303 See Other\nLocation: https://example.org/y\nContent-Type: text/plain\n\nseen"), end())
    assert (a.status, a["Location"], a.body) == (303, "https://example.org/y", b"seen")
    with Client(s) as client:  # from one application to the next
        client.get("/app/from", "Content-Length: 3\r\n", "POST").send("abc")
        c = b.expect()
        c.read_body()
        c.send(record(STDOUT, "Location: /app/to?q=1\n\n"), end())
        c = b.expect()
        assert (c.params["REQUEST_METHOD"], c.params["QUERY_STRING"], c.read_body()) == ("GET", "q=1", b"")
        assert c.params["SCRIPT_NAME"] + c.params.get("PATH_INFO", "") in ("/app/to", "/app/to/app/to")
        c.answer("arrived")
        assert client.answer().body == b"arrived"
    assert b.is_idle()


# ---- errors that the server answers ----

PAGES = 'ErrorDocument 404 /lost.html\nErrorDocument 500 "of our own"\n'


def test_error_override(start):
    """On: the server's pages in the place of the application's; On with statuses: in the place of these."""
    b, s = start(PAGES + "".join('<Location "/app/%s">\nProxyErrorOverride %s\n</Location>\n' % item for item in (
        ("all", "On"), ("some", "On 404 410"), ("none", "Off"))), files={"index.html": "hello\n", "lost.html": "lost page\n"})

    def told(place, status, fields=""):
        a = ask(s, b, record(STDOUT, "Status: %d\nContent-Type: text/plain\nSet-Cookie: a=1\n%s\nof the application" % (status, fields)),
                end(), path="/app/%s/x" % place)
        assert a.status == status
        return a.body

    for place in ("all", "some", "none", "elsewhere"):
        own = {status: told(place, status) != b"of the application" for status in (200, 302, 404, 410, 500, 503)}
        assert own == {"all": {200: False, 302: False, 404: True, 410: True, 500: True, 503: True},
                       "some": {200: False, 302: False, 404: True, 410: True, 500: False, 503: False}}.get(
                           place, dict.fromkeys(own, False)), place
    assert told("all", 404) == b"lost page\n" and told("all", 500) == b"of our own"
    assert told("all", 404, "Content-Length: 18\n") == b"lost page\n"


def test_a_page_of_the_application_for_errors_of_the_server(start):
    """ErrorDocument to a FastCGI application: it sees what went wrong, and its page has that status."""
    b, s = start("ErrorDocument 404 /app/error\n")
    with Client(s) as client:
        client.get("/missing?a=b")
        c = b.expect()
        assert c.params["REDIRECT_STATUS"] == "404" and c.params["REDIRECT_URL"] == "/missing"
        assert c.params["REDIRECT_QUERY_STRING"] == "a=b"
        c.answer("a page for it")
        a = client.answer()
        assert (a.status, a.body) == (404, b"a page for it")


# ---- files ----

@pytest.fixture
def files(serve, beside):
    """A server whose application may name files below root/open and root/more."""
    app = beside(applications.FcgiApp("unix"))
    s = serve(('ProxyPass "/app/" "%s/"\nProxyPass "/off/" "%s/off/"\n<Location "/app">\nXSendFile On\nXSendFilePath "{root}/open"\n</Location>\n'
               '<Location "/app/more">\nXSendFilePath "{root}/more"\n</Location>\n') % (app.url, app.url))
    for path, text in (("open/a.txt", "0123456789"), ("open/sub/b.html", "<b>"), ("more/c.txt", "more"), ("shut/secret", "SECRET"),
                       ("open/with space.txt", "spaced"), ("openly", "SECRET")):
        s.write(path, text)
    os.symlink("../shut/secret", s.path("open/link"))
    os.symlink("a.txt", s.path("open/inside"))
    os.symlink("../shut", s.path("open/way"))
    return s


def test_a_file_that_the_application_names(files):
    """It is answered like any other file: whole, in parts, or not again; the application's own body is nobody's."""
    path = "/app/x?" + query(head="ETag: \"own\"", sendfile=files.path("open/a.txt"), text="never seen")
    a = files.get(path)
    assert (a.status, a.body, a.headers["Content-Length"]) == (200, b"0123456789", "10")
    assert a.headers["X-Sendfile"] is None and a.headers["ETag"] == '"own"'
    a = files.get(path, headers={"Range": "bytes=2-4"})
    assert (a.status, a.body, a.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert files.get(path, headers={"If-None-Match": '"own"'}).status == 304
    assert files.request("HEAD", path).headers["Content-Length"] == "10"
    for name, body in (("a.txt", b"0123456789"), ("sub/b.html", b"<b>"), ("inside", b"0123456789"), ("with%20space.txt", b"spaced"),
                       ("sub/../a.txt", b"0123456789")):
        assert files.get("/app/x?" + query(sendfile=name)).body == body, name
    assert files.get("/app/x?" + query(status="404 Gone", sendfile=files.path("open/a.txt"))).status == 404
    assert files.get("/app/more/x?" + query(sendfile=files.path("more/c.txt"))).body == b"more"
    assert files.get("/app/more/x?" + query(sendfile=files.path("open/a.txt"))).body == b"0123456789"


OUTSIDE = (
    "{root}/shut/secret", "{root}/more/c.txt", "{root}/openly", "{root}/open/../shut/secret", "../shut/secret", "link", "way/secret",
    "{root}/open/link", "%2e%2e/shut/secret", "/etc/passwd", "/dev/zero", "{root}/open", "{root}/open/", "/proc/self/environ")
MISSING = ("{root}/open/none", "a.txt%00.html", "a.txt/b", "%", "a.txt%", "{root}/none/at/all")


def test_a_file_that_it_may_not_name(files):
    """Outside of the allowed folders, by whatever way, or no file: nothing of it is shown, and the log says which it was."""
    for status, names in ((403, OUTSIDE), (404, MISSING)):
        for name in names:
            a = files.get("/app/x?" + query(sendfile=name.replace("{root}", files.root), text="never seen"))
            assert a.status == status, (name, a)
            assert not any(word in a.body for word in (b"SECRET", b"root:", b"never seen", b"PATH=")) and a.headers["X-Sendfile"] is None
    wait_until("each has a line", lambda: len(log_lines(files, "X-Sendfile: '")) + len(log_lines(files, "X-Sendfile: there")) ==
               len(OUTSIDE + MISSING))


def test_where_files_may_not_be_named(files):
    """Without XSendFile On the field has no effect, and the client does not learn of it."""
    a = files.get("/off/x?" + query(sendfile=files.path("open/a.txt"), text="the body"))
    assert (a.status, a.body, a.headers["X-Sendfile"]) == (200, b"the body", None)
