"""mod_log_config with mod_logio: the access logs."""
import os
import re

import harness


def lines_of(s, name, count):
    """The lines of a log, once there are `count` of them: a line is written when its answer is out."""
    def read():
        with open(s.path("logs", name)) as f:
            lines = f.read().splitlines()
        return lines if len(lines) >= count else None
    return harness.wait_until("%s has %d lines" % (name, count), read)


def test_items(serve):
    s = serve("""
LogFormat "%a %A %{remote}p %{local}p|%h %l %u %t|%r|%m %U %q %H|%>s %b %B|%f|%v %V %p|%k %X|%I %O %S|%P|%D %T" all
LogFormat "%{X-In}i|%{Content-Type}o|%{ETag}o|%{Last-Modified}o|%{Content-Length}o|%{c}C|%{none}e|%{none}n|%%" fields
CustomLog "{root}/logs/all" all
CustomLog "{root}/logs/fields" fields
""", files={"a.txt": "hello"})
    os.utime(s.path("htdocs", "a.txt"), (1000000000, 1000000000))
    request = b'GET /a.txt?q=1 HTTP/1.1\r\nHost: localhost\r\nX-In: say "x"\\\r\nCookie: b=1; c=2\r\n\r\n'
    with s.connect() as c:
        port = c.getsockname()[1]
        c.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n\r\nhello"):
            piece = c.recv(65536)
            assert piece, answer
            answer += piece
    all_, fields = lines_of(s, "all", 1)[0], lines_of(s, "fields", 1)[0]
    sent = len(request)
    m = re.fullmatch(
        r"127\.0\.0\.1 127\.0\.0\.1 (\d+) (\d+)\|127\.0\.0\.1 - - (\[[^\]]+\])\|GET /a\.txt\?q=1 HTTP/1\.1\|"
        r"GET /a\.txt \?q=1 HTTP/1\.1\|200 5 5\|(\S+)\|localhost localhost 80\|0 [+]\|(\d+) (\d+) (\d+)\|(\d+)\|"
        r"(\d+) (\d+)", all_)
    assert m, all_
    assert (int(m[1]), int(m[2])) == (port, s.port)
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", m[3])
    assert m[4] == s.path("htdocs", "a.txt")
    assert [int(m[5]), int(m[6]), int(m[7])] == [sent, len(answer), sent + len(answer)]
    assert int(m[8]) in [p.pid for p in s.children()]
    etag = re.search(rb'ETag: "([^"]+)"', answer)[1].decode()
    assert fields == r'say \"x\"\\|text/plain|\"%s\"|Sun, 09 Sep 2001 01:46:40 GMT|5|2|-|-|%%' % etag


def test_original_and_final_request(serve):
    s = serve("""
ErrorDocument 404 /error.html
LogFormat "%r|%s|%>s|%<s|%U|%>U|%200r|%!200r" both
CustomLog "{root}/logs/both" both
""", files={"error.html": "lost\n", "a": "a"})
    s.get("/missing")
    lines_of(s, "both", 1)  # a line is written behind its answer: two connections' may come in any order
    s.get("/a")
    assert lines_of(s, "both", 2) == [
        "GET /missing HTTP/1.1|404|404|404|/missing|/error.html|-|GET /missing HTTP/1.1",
        "GET /a HTTP/1.1|200|200|200|/a|/a|GET /a HTTP/1.1|-"]


def test_what_clients_send_is_escaped(serve):
    s = serve('CustomLog "{root}/logs/esc" "%U %{X}i"', files={"index.html": ""})
    s.raw(b"GET /%0a%22%5c%ff%1b HTTP/1.0\r\nX: \x01\x7f\xe4\"\r\n\r\n")
    s.raw(b"GET /%0a%22%5c%ff%1b HTTP/1.0\r\nX: t\tb\xe4\"\r\n\r\n")
    lines = lines_of(s, "esc", 2)
    assert lines[1] == r'/\n\"\\\xff\x1b t\tb\xe4\"'
    assert all(0x20 <= ord(c) < 0x7f for line in lines for c in line)


def test_which_log_gets_a_line(serve):
    s = serve("""
LogFormat "main %v %U" main
CustomLog "{root}/logs/main" main
GlobalLog "{root}/logs/global" "global %v %U"
CustomLog "{root}/logs/transfer.custom" "x" env=never
<VirtualHost 127.0.0.1:{port}>
    ServerName first.test
    DocumentRoot "{root}/htdocs"
</VirtualHost>
<VirtualHost 127.0.0.1:{port}>
    ServerName own.test
    DocumentRoot "{root}/htdocs"
    LogFormat "nameless %U"
    TransferLog "{root}/logs/own"
</VirtualHost>
""", files={"a": "", "b": ""})
    s.get("/a", {"Host": "first.test"})
    assert lines_of(s, "main", 1) == ["main first.test /a"]
    lines_of(s, "global", 1)
    s.get("/b", {"Host": "own.test"})
    assert lines_of(s, "own", 1) == ["nameless /b"]
    assert lines_of(s, "global", 2) == ["global first.test /a", "global own.test /b"]
    assert os.path.getsize(s.path("logs", "transfer.custom")) == 0


def test_by_environment(serve):
    s = serve("""
<LocationMatch "^/(?<thing>[a-z]+)$">
</LocationMatch>
CustomLog "{root}/logs/with" "%U %{MATCH_THING}e" env=MATCH_THING
CustomLog "{root}/logs/without" "%U" env=!MATCH_THING
""", files={"a": "", "1": ""})
    s.get("/a")
    s.get("/1")
    assert lines_of(s, "with", 1) == ["/a a"]
    assert lines_of(s, "without", 1) == ["/1"]


def test_to_a_program(serve):
    s = serve('CustomLog "|$/bin/cat >> {root}/logs/shell" "%U shell"\n'
              'CustomLog "|/usr/bin/tee -a {root}/logs/direct" "%U direct"', files={"a": ""})
    for _ in range(3):
        s.get("/a")
    assert lines_of(s, "shell", 3) == ["/a shell"] * 3
    assert lines_of(s, "direct", 3) == ["/a direct"] * 3


def test_buffered_lines_are_all_there_at_the_end(serve):
    s = serve('BufferedLogs On\nCustomLog "{root}/logs/buffered" "%U %{X}i"', files={"a": ""})
    client = s.client()
    for i in range(50):
        client.request("GET", "/a", headers={"X": str(i)})
        client.getresponse().read()
    client.close()
    assert s.stop() == 0
    assert sorted(lines_of(s, "buffered", 50), key=lambda l: int(l.split()[1])) == ["/a %d" % i for i in range(50)]


def test_a_log_is_reopened_by_a_restart(serve):
    s = serve('CustomLog "{root}/logs/access" "%U"', files={"a": "", "b": ""})
    s.get("/a")
    lines_of(s, "access", 1)
    os.rename(s.path("logs", "access"), s.path("logs", "access.1"))
    s.graceful()
    harness.wait_until("the new log is there", lambda: os.path.exists(s.path("logs", "access")))
    s.get("/b")
    assert lines_of(s, "access", 1) == ["/b"]
    assert lines_of(s, "access.1", 1) == ["/a"]


def test_a_bad_format_is_an_error_with_its_place(make):
    s = make('\nCustomLog "{root}/logs/x" "%z"')
    r = s.run("-t")
    assert r.returncode == 1
    assert re.search(r"on line \d+ of .*httpd\.conf:\n.*%z", r.stderr)
