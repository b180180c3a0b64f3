"""Every way to run an application, in one server, side by side: what they have in common and that they leave each other alone."""
import contextlib
import os
import shutil
import threading
import urllib.parse

import pytest

import applications
import rawclient
from applications import TESTAPP
from harness import wait_until

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
PHP = r"""<?php
if (isset($_GET['env'])) { foreach ($_SERVER as $n => $v) if (is_string($v)) echo "$n=$v\n"; exit; }
if (isset($_GET['await'])) { echo "first\n"; flush(); while (!file_exists($_GET['await'])) { usleep(10000); clearstatcache(); } }
echo 'done ', file_get_contents('php://input'), "\n";
"""
# One of each; where its URL is.
PLACES = {"cgi": "/cgi/app", "tcp": "/tcp/app", "tcp6": "/tcp6/app", "unix": "/unix/app", "pool": "/pool/app",
          "fpm": "/fpm.php", "phppool": "/pool.php"}
if applications.HAS_MOD_PHP:
    PLACES["mod_php"] = "/mod.php"


class Everything:
    def __init__(self, make, beside, config=""):
        tcp, tcp6, unix = (beside(applications.FcgiApp(kind, processes=4)) for kind in ("tcp", "tcp6", "unix"))
        self.fpm = beside(applications.Fpm())
        pool = beside(applications.PhpPool())
        text = pool.config + applications.pool("app", TESTAPP)
        if "mod_php" in PLACES:
            mod = beside(applications.ModPhp())
            text += mod.config + '<Files "mod.php">\n    SetHandler application/x-httpd-php\n</Files>\n'
        text += ('ScriptAlias "/cgi/" "{root}/cgi/"\n<Directory "{root}/cgi">\n    Require all granted\n</Directory>\n'
                 'ProxyPass "/tcp/" "%s/" flushpackets=on\nProxyPass "/tcp6/" "%s/" flushpackets=on\n'
                 'ProxyPass "/unix/" "%s/" flushpackets=on\nProxyPass "/pool/" "pool:app"\n' % (tcp.url, tcp6.url, unix.url))
        text += '<Files "fpm.php">\n    SetHandler "proxy:%s"\n</Files>\n' % self.fpm.url
        text += '<Files "pool.php">\n    SetHandler "pool:php"\n</Files>\n'
        self.server = make(text + config, env=applications.PHP_ENV, files={
            "index.html": "hello\n", **{place[1:]: PHP for place in PLACES.values() if place.endswith(".php")}})
        os.mkdir(self.server.path("cgi"))
        for path, name in ((TESTAPP, "app"), (os.path.join(SOURCE, "guestbook.py"), "guestbook.py")):
            shutil.copy(path, self.server.path("cgi", name))
        os.mkdir(self.server.path("gates"))
        self.server.start()

    def post(self, way, text):
        url = PLACES[way]
        body = text.encode()
        return self.server.request("POST", url if url.endswith(".php") else url + "?text=done%20&body&text=%0a", body=body,
                                   headers={"Content-Type": "application/octet-stream"})


@pytest.fixture
def everything(make, beside):
    return lambda config="": Everything(make, beside, config)


def test_side_by_side(everything):
    """Each answers its own requests while all the others are asked, on connections that are kept."""
    e = everything()
    wrong = []

    def ask(way, number):
        for i in range(15):
            text = "%s %d %d" % (way, number, i)
            answer = e.post(way, text)
            if (answer.status, answer.body) != (200, b"done %s\n" % text.encode()):
                wrong.append((way, answer))

    threads = [threading.Thread(target=ask, args=(way, n)) for way in PLACES for n in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]
    assert e.server.get("/index.html").body == b"hello\n"


def test_all_are_told_the_same(everything):
    """The variables that describe the request and the server do not depend on how the application is run."""
    e = everything()
    told = {}
    for way, place in PLACES.items():
        answer = e.server.request("GET", place + "?env", headers={"X-Asked": "by a test", "Cookie": "a=b", "User-Agent": "tester/1"})
        lines = (line.partition("=") for line in answer.body.decode().splitlines())
        told[way] = {name: value for name, _, value in lines}
    for name in ("GATEWAY_INTERFACE", "SERVER_PROTOCOL", "SERVER_SOFTWARE", "SERVER_NAME", "SERVER_PORT", "SERVER_ADDR",
                 "REQUEST_METHOD", "REQUEST_SCHEME", "QUERY_STRING", "REMOTE_ADDR", "DOCUMENT_ROOT", "HTTP_HOST",
                 "HTTP_X_ASKED", "HTTP_COOKIE", "HTTP_USER_AGENT", "SERVER_ADMIN"):
        assert len({v.get(name) for v in told.values()}) == 1, (name, {way: v.get(name) for way, v in told.items()})
    port = str(e.server.port)
    for way, place in PLACES.items():
        v = told[way]
        assert v["GATEWAY_INTERFACE"] == "CGI/1.1" and v["SERVER_PORT"] == port and v["HTTP_X_ASKED"] == "by a test"
        assert v["REQUEST_URI"] == place + "?env" and v["SCRIPT_NAME"] == place, way
        assert v["REMOTE_PORT"].isdigit()
        if place.endswith(".php"):
            assert v["SCRIPT_FILENAME"] == e.server.path("htdocs" + place), way


def test_output_comes_as_it_is_made(everything):
    """Where the configuration says so, what a program writes is at the client before the program goes on."""
    e = everything()
    for way in ("cgi", "tcp", "tcp6", "unix"):
        gate = e.server.path("gates", way)
        with rawclient.Client(e.server) as c:
            c.get("%s?text=first%%0a&flush&await=%s&text=last%%0a" % (PLACES[way], gate), version="1.0")
            head = c._until(b"\r\n\r\n")
            assert b" 200 " in head
            assert c.read_exactly(6) == b"first\n", way
            open(gate, "w").close()
            assert c.rest() == b"last\n", way


def test_a_python_guest_book(everything):
    """Forms, a redirect after each, two cookies, an entry file, and what the script says to its standard error."""
    e = everything()
    s = e.server
    book = s.write("cgi/guestbook.txt", "")
    os.chmod(book, 0o666)
    entries = [("Ann", "first & <best>"), ("Bö", "ünïcode"), ("C", "x" * 100_000)]
    for name, text in entries:
        answer = s.request("POST", "/cgi/guestbook.py", body=urllib.parse.urlencode({"name": name, "text": text}),
                           headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status == 303 and answer.headers["Location"] == "http://127.0.0.1:%d/cgi/guestbook.py" % s.port
        assert answer.headers.get_all("Set-Cookie") == ["guest=%s; HttpOnly" % urllib.parse.quote(name), "seen=1"]
    page = s.get("/cgi/guestbook.py", headers={"Cookie": "seen=1; guest=B%C3%B6"})
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "You are Bö." in page.body.decode() and "<li><b>Ann</b>: first &amp; &lt;best&gt;</li>" in page.body.decode()
    raw = s.get("/cgi/guestbook.py/raw")
    assert raw.body.decode() == "".join("%s\t%s\n" % entry for entry in entries)
    assert int(raw.headers["Content-Length"]) == len(raw.body)
    head = s.request("HEAD", "/cgi/guestbook.py/raw")
    assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] in (None, str(len(raw.body)))
    wait_until("its words are in the log", lambda: "signed by Ann" in s.error_log() and "guestbook.py" in s.error_log())
    with rawclient.Client(s) as c:
        c.get("/cgi/guestbook.py/stream?until=" + s.path("gates/book"), version="1.0")
        c._until(b"\r\n\r\n")
        assert c.read_exactly(6) == b"first\n"
        open(s.path("gates/book"), "w").close()
        assert c.rest() == b"last\n"


def test_a_post_from_any_client(everything):
    """A body with a length, a chunked one, and one that waits for 100 Continue, by every way."""
    e = everything()
    for way, place in PLACES.items():
        url = place if place.endswith(".php") else place + "?text=done%20&body&text=%0a"
        kind = "Content-Type: application/octet-stream\r\n"
        with rawclient.Client(e.server) as c:
            c.get(url, kind + "Content-Length: 5\r\n", "POST").send("hello")
            assert c.answer().body == b"done hello\n", way
            c.get(url, kind + "Transfer-Encoding: chunked\r\n", "POST").send("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
            assert c.answer().body == b"done hello\n", way
            c.get(url, kind + "Content-Length: 5\r\nExpect: 100-continue\r\n", "POST")
            assert c.head().status == 100, way
            assert c.send("hello").answer().body == b"done hello\n", way
            c.get(url, kind + "Content-Length: 0\r\n", "POST")
            assert c.answer().body == b"done \n", way


def test_restarts_in_the_middle_of_everything(everything):
    """Graceful restarts under load: no request of any way fails, and the processes of unchanged pools are the same."""
    e = everything()
    ends, wrong, count = threading.Event(), [], {}

    def ask(way):
        while not ends.is_set():
            text = "%s %d" % (way, count.get(way, 0))
            try:
                answer = e.post(way, text)
                if (answer.status, answer.body) != (200, b"done %s\n" % text.encode()):
                    wrong.append((way, answer))
            except OSError as problem:
                wrong.append((way, problem))
            count[way] = count.get(way, 0) + 1

    def pool_pids():
        found = set()
        for p in e.server.family():
            with contextlib.suppress(OSError), open("/proc/%d/cmdline" % p.pid, "rb") as f:
                if f.read().split(b"\0")[0].decode() in (TESTAPP, applications.PHP_CGI):
                    found.add(p.pid)
        return found

    wait_until("both pools are complete", lambda: len(pool_pids()) == 8)
    before = pool_pids()
    threads = [threading.Thread(target=ask, args=(way,)) for way in PLACES]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            reached = dict(count)
            wait_until("all ways serve", lambda r=reached: all(count.get(w, 0) > r.get(w, 0) + 3 for w in PLACES))
            e.server.graceful()
    finally:
        ends.set()
        for t in threads:
            t.join()
    assert not wrong, wrong[:3]
    assert pool_pids() == before
