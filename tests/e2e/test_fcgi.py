"""The FastCGI client: how a backend is named, what is said about it, and what becomes of connections to it."""
import contextlib
import threading

import pytest

import applications
from applications import query
from fcgi_backend import HEAD, MPM, ONE_CHILD, STDERR, STDOUT, Backend, log_lines, logged, record, reply
from harness import wait_until
from rawclient import Client

KINDS = ("tcp", "tcp6", "unix")
# One backend, by every way to name it. The words are the place in the URL and where that leads to at the backend.
NAMING = """
ProxyPass "/pass-{kind}/closed" "!"
ProxyPass "/pass-{kind}/" "{url}/"
ProxyPassMatch "^/match-{kind}/(.*)\\.x$" "{url}/there/$1"
<Location "/loc-{kind}/">
    ProxyPass "{url}/"
</Location>
<LocationMatch "^/lm-{kind}/(.*)$">
    ProxyPassMatch "{url}/far/$1"
</LocationMatch>
<Location "/set-{kind}">
    SetHandler "proxy:{url}"
</Location>
<FilesMatch "\\.{kind}$">
    SetHandler "proxy:{url}/"
</FilesMatch>
"""


def naming(kind, url):
    return NAMING.replace("{kind}", kind).replace("{url}", url)


def test_every_way_to_name_a_backend(serve, beside):
    """Three kinds of sockets, six directives: each request is run by the backend that is meant, and by no other."""
    apps = {kind: beside(applications.FcgiApp(kind)) for kind in KINDS}
    s = serve("".join("LoadModule %s_module modules/mod_%s.so\n" % (name, name) for name in ("authz_core", "dir", "proxy", "proxy_fcgi")) +
              "".join(naming(kind, app.url) for kind, app in apps.items()),
              files={"index.html": "hello\n", **{"file." + kind: "source of " + kind for kind in KINDS}})
    for kind, app in apps.items():
        asked = []
        for path in ("/pass-%s/a/b", "/match-%s/a/b.x", "/loc-%s/a", "/lm-%s/a", "/set-%s", "/file.%s", "/file.%s/a/b"):
            path %= kind
            answer = s.get(path + "?" + query(mark=path, text="at ", var="REQUEST_URI"))
            assert answer.status == 200 and answer.body.startswith(b"at " + path.encode()), (path, answer)
            asked.append(path)
        assert app.words() == asked
        for path in ("/pass-%s/closed", "/pass-%s/closed/a", "/match-%s/a/b", "/pass-%s"):
            assert s.get(path % kind + "?" + query(mark="never")).status == 404, path
        assert app.words() == asked
    assert s.get("/").body == b"hello\n"


def test_an_answer_through_each_kind_of_socket_is_whole(serve, beside):
    """Bodies of all sizes around a record's, both ways."""
    apps = {kind: beside(applications.FcgiApp(kind)) for kind in KINDS}
    s = serve("".join('ProxyPass "/%s/" "%s/"\n' % (kind, app.url) for kind, app in apps.items()))
    for kind in KINDS:
        client = s.client()
        for n in (0, 1, 7, 8, 65527, 65535, 65536, 200_003):
            body = bytes(i * 7 % 251 for i in range(n))
            client.request("POST", "/%s/x?body" % kind, body=body)
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, body), (kind, n)
        client.close()


# ---- what the configuration says of a backend ----

SAYINGS = {
    "ProxyPass": ('ProxyPass "/app/" "{url}/" enablereuse=on\n', "/app/a"),
    "ProxyPass and disablereuse": ('ProxyPass "/app/" "{url}/" disablereuse=off\n', "/app/a"),
    "Proxy with ProxySet": ('ProxyPass "/app/" "{url}/"\n<Proxy "{url}/">\nProxySet enablereuse=on\n</Proxy>\n', "/app/a"),
    "Proxy without a path": ('SetHandler "proxy:{url}/"\n<Proxy "{url}">\nProxySet timeout=60 enablereuse=on\n</Proxy>\n', "/"),
    "Proxy with parameters": ('SetHandler "proxy:{url}/"\n<Proxy "{url}/" enablereuse=on max=10>\n</Proxy>\n', "/"),
    "ProxySet of the server": ('SetHandler "proxy:{url}/"\nProxySet "{url}/" enablereuse=on\n', "/"),
    "of a longer path": ('ProxyPass "/app/" "{url}/x/"\nProxyPass "/b/" "{url}/x/y/" enablereuse=on\n', "/b/a"),
}
NOT_SAID = {
    "by default": ('ProxyPass "/app/" "{url}/"\n', "/app/a"),
    "of another path": ('ProxyPass "/app/" "{url}/x/" enablereuse=on\nProxyPass "/b/" "{url}/y/"\n', "/b/a"),
    "of another backend": ('SetHandler "proxy:{url}/"\n<Proxy "fcgi://127.0.0.1:9/">\nProxySet enablereuse=on\n</Proxy>\n', "/"),
}


@pytest.mark.parametrize("name", [*SAYINGS, *NOT_SAID])
def test_who_is_meant_by_parameters(serve, beside, name):
    """A backend is told by KEEP_CONN whether enablereuse holds for it: so it is seen which parameters reach it."""
    config, path = SAYINGS.get(name) or NOT_SAID[name]
    for kind in ("tcp", "unix"):
        b = beside(Backend(kind))
        s = serve(config.replace("{url}", b.url))
        with Client(s) as client:
            client.get(path)
            c = b.expect()
            assert c.keeps == (name in SAYINGS), kind
            c.answer("done").close()
            assert client.answer().body == b"done"


def test_a_matching_worker_for_sockets(serve, beside):
    """As httpd's manual has it: what follows the | names a worker, whatever the socket is."""
    b = beside(Backend("unix"))
    s = serve('SetHandler "proxy:unix:%s|fcgi://blog/"\n<Proxy "fcgi://blog/">\nProxySet enablereuse=on\n</Proxy>\n' % b.path)
    with Client(s) as client:
        client.get()
        c = b.expect()
        assert c.keeps
        c.answer("one")
        assert client.answer().body == b"one"


@pytest.mark.parametrize("line,words", [
    ('ProxyPass "/a" "fcgi://127.0.0.1:9000/" enablereus=on', ["enablereuse"]),
    ('ProxyPass "/a" "fcgi://127.0.0.1:9000/" max=none', ["max"]),
    ('ProxyPass "/a" "fcgi://127.0.0.1:9000/" timeout=-5', ["timeout"]),
    ('ProxyPass "/a" "fcgi://127.0.0.1:99999/"', ["port"]),
    ('ProxyPass "/a" "fcgi://::1:9000/"', ["brackets"]),
    ('ProxyPass "/a" "unix:relative|fcgi://localhost/"', ["relative"]),
    ('ProxyPass "/a" "unix:/%s|fcgi://localhost/"' % ("x" * 200), ["long"]),
    ('ProxyPass "/a" "ftp://127.0.0.1/"', ["ftp"]),
    ('ProxyPassMatch "^/(a" "fcgi://127.0.0.1:9000/$1"', ["regular expression"]),
    ('<Proxy "fcgi://127.0.0.1:9000">\nRequire ip 10.0.0.0/8\n</Proxy>', ["Location"]),
    ('<Proxy "fcgi://127.0.0.1:9000">\nProxySet timeout\n</Proxy>', ["key=value"]),
    ('ProxyFCGIBackendType LIGHT', ["FPM", "GENERIC"]),
])
def test_what_makes_no_sense_is_refused(make, line, words):
    result = make("\n" + line + "\n").run("-t")
    assert result.returncode != 0 and "httpd.conf" in result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def test_a_section_denies(serve, beside):
    """<Proxy> with access control: who is denied never reaches the backend."""
    b = beside(Backend())
    s = serve('ProxyPass "/open/" "{url}/open/"\nProxyPass "/shut/" "{url}/shut/"\n<Proxy "*">\nRequire all granted\n</Proxy>\n'
              '<Proxy "{url}/shut/*">\nRequire all denied\n</Proxy>\n'.replace("{url}", b.url))
    assert s.get("/shut/a").status == 403 and b.is_idle()
    with Client(s) as client:
        client.get("/open/a")
        b.expect().answer("open")
        assert client.answer().body == b"open"


# ---- connections ----

def test_a_connection_is_closed_after_its_request(serve, beside):
    """Even where the backend would keep it: one for each request, and the backend sees its end before the next begins."""
    for kind in KINDS:
        b = beside(Backend(kind))
        s = serve('ProxyPass "/app/" "%s/"\n' % b.url)
        with Client(s) as client:
            for i in range(3):
                client.get("/app/%d" % i)
                c = b.expect()
                assert not c.keeps
                c.answer("done %d" % i)
                assert client.answer().body == b"done %d" % i
                assert c.rest() == []


def test_a_connection_is_kept(serve, beside):
    """With enablereuse=on all requests of one client come over the same, with bodies, errors and refusals between them."""
    for kind in KINDS:
        b = beside(Backend(kind))
        s = serve('ProxyPass "/app/" "%s/" enablereuse=on\n' % b.url)
        with Client(s) as client:
            c = b.accept() if client.get("/app/0") else None
            for i in range(1, 6):
                c.request()
                assert c.keeps and c.params["REQUEST_URI"] == "/app/%d" % (i - 1)
                c.answer("Status: 404 Gone\r\n\r\nno %d" % i if i % 2 else HEAD + "yes %d" % i, head="")
                assert client.answer().body == (b"no %d" if i % 2 else b"yes %d") % i
                client.get("/app/%d" % i, "Content-Length: 3\r\n" if i == 3 else "", "POST" if i == 3 else "GET")
                client.send("abc" if i == 3 else "")
            c.request()
            c.answer("last")
            client.answer()
            assert c.is_open() and b.is_idle()
        s.stop()
        assert c.rest() == []  # the server's end is the end of what it kept


def test_kept_connections_are_not_mixed_up(serve, beside):
    """Each request is at the backend that is meant, also where one worker speaks of several sockets."""
    kept = [beside(Backend(kind)) for kind in ("tcp", "tcp", "unix", "unix")]
    s = serve("".join('<Location "/%d">\nSetHandler "proxy:%s"\n</Location>\n' % (i, b.url) for i, b in enumerate(kept)) +
              "".join('<Proxy "%s">\nProxySet enablereuse=on\n</Proxy>\n' % url for url in (kept[0].url, kept[1].url, "fcgi://localhost")))
    talks = [None] * 4
    with Client(s) as client:
        for i in (0, 1, 2, 3, 3, 1, 2, 0):
            client.get("/%d" % i)
            talks[i] = talks[i] or kept[i].accept()
            assert talks[i].request()["REQUEST_URI"] == "/%d" % i and talks[i].keeps
            talks[i].answer("from %d" % i)
            assert client.answer().body == b"from %d" % i
    assert all(b.is_idle() for b in kept)


def test_a_backend_that_closes_is_believed(serve, beside):
    """KEEP_CONN is a wish: who ends the connection after the answer gets the next request on a new one."""
    b = beside(Backend())
    s = serve('ProxyPass "/app/" "%s/" enablereuse=on\n' % b.url)
    with Client(s) as client:
        for i in range(4):
            client.get("/app/%d" % i, "Content-Length: 3\r\n", "POST").send("abc")
            c = b.expect()
            assert c.read_body() == b"abc"
            c.answer("done %d" % i).close()
            assert client.answer().body == b"done %d" % i


@pytest.mark.skipif(MPM == "prefork", reason="a process has one request at a time, and so one connection")
def test_no_more_than_max_are_kept(serve, beside):
    """Five requests at once over five connections; behind their answers two of these are left, and serve on."""
    b = beside(Backend())
    s = serve(ONE_CHILD + 'ProxyPass "/app/" "%s/" enablereuse=on max=2\n' % b.url)
    clients = [Client(s) for _ in range(5)]
    for round_ in range(3):
        for client in clients:
            client.get("/app/%d" % round_)
        asked = []
        for _ in clients:
            c = wait_until("a request comes", lambda: whoever_asks(b, asked))  # noqa: B023
            c.request()
            asked.append(c)
        assert len(set(asked)) == 5
        for c in asked:
            c.answer("done")
        for client in clients:
            assert client.answer().body == b"done"
        wait_until("two are left", lambda: len([c for c in b.conversations if c.is_open()]) == 2)
    for client in clients:
        client.s.close()


def whoever_asks(b, asked):
    """A connection with a request, kept or new; None when there is none now."""
    found = next((c for c in b.conversations if c not in asked and c.is_readable() and c.is_open()), None)
    return found or (None if b.is_idle() else b.accept())


def test_a_kept_connection_is_kept_for_a_while(serve, beside):
    """ttl=: the server closes what nobody used, on its own."""
    for kind in ("tcp", "unix"):
        b = beside(Backend(kind))
        s = serve('KeepAliveTimeout 60\nProxyPass "/app/" "%s/" enablereuse=on ttl=3s\n' % b.url)
        with Client(s) as client:
            c = begin(client, b)
            assert c.rest() == []
            client.get("/app/again")
            b.expect().answer("again")
            assert client.answer().body == b"again"


# ---- kept connections that are dead ----

def begin(client, b):
    """A kept connection that has served."""
    client.get("/app/first")
    c = b.expect()
    c.answer("first")
    assert client.answer().body == b"first" and c.is_open()
    return c


@pytest.fixture
def reuse(serve, beside):
    b = beside(Backend())
    return b, serve(ONE_CHILD + 'ProxyPass "/app/" "%s/" enablereuse=on\n' % b.url)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_closed_while_it_was_idle(reuse, how):
    b, s = reuse
    with Client(s) as client:
        getattr(begin(client, b), how)()
        client.get("/app/again", "Content-Length: 3\r\n", "POST").send("abc")
        c = b.expect()
        assert c.read_body() == b"abc"
        c.answer("again")
        assert client.answer().body == b"again"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_closed_under_a_request(reuse, how, method):
    """The request had been sent when the other end was gone: it goes to a fresh connection, whole, and only once."""
    b, s = reuse
    with Client(s) as client:
        stale = begin(client, b)
        client.get("/app/again", "Content-Length: 3\r\n" if method == "POST" else "", method)
        client.send("abc" if method == "POST" else "")
        stale.request()
        if how == "close":  # as a process does that ends: the bytes that it has not read make it a reset
            stale.read_body()
        getattr(stale, how)()
        c = b.expect()
        assert c.params["REQUEST_URI"] == "/app/again" and c.params["REQUEST_METHOD"] == method
        assert c.read_body() == (b"abc" if method == "POST" else b"")
        c.answer("again")
        assert client.answer().body == b"again"
        assert b.is_idle() and c.is_open()


def test_a_streamed_body_cannot_be_sent_again(serve, beside):
    """Part of it was given to the dead connection: 502, and the application that is there never sees the rest for a whole."""
    b = beside(Backend())
    s = serve(ONE_CHILD + 'ProxyPass "/app/" "%s/" enablereuse=on\n<Location "/app">\nProxyRequestBuffering Off\n</Location>\n' % b.url)
    with Client(s) as client:
        stale = begin(client, b)
        client.get("/app/again", "Content-Length: 10\r\n", "POST").send("hello")
        stale.request()
        assert stale.read_body(5) == b"hello"
        stale.close()
        assert client.answer().status == 502
        assert b.is_idle()


def test_a_fresh_one_that_fails_is_not_followed_by_another(reuse):
    b, s = reuse
    with Client(s) as client:
        stale = begin(client, b)
        client.get("/app/again", "Content-Length: 3\r\n", "POST").send("abc")
        stale.request()
        stale.read_body()
        stale.close()
        fresh = b.expect()
        fresh.read_body()
        fresh.close()
        assert client.answer().status == 502
        assert b.is_idle()
        logged(s, b.name, "closed")


ANSWERED = {
    "a part of the head": lambda c: c.out("Content-"),
    "a head": lambda c: c.out(HEAD),
    "a line of stderr": lambda c: c.send(record(STDERR, "oops")),
    "half a record": lambda c: c.send(record(STDOUT, HEAD)[:4]),
}


@pytest.mark.parametrize("what", ANSWERED)
def test_what_was_answered_is_not_asked_again(reuse, what):
    """A POST whose answer had begun, if by one byte, has been executed: the client is told 502."""
    b, s = reuse
    with Client(s) as client:
        c = begin(client, b)
        client.get("/app/again", "Content-Length: 3\r\n", "POST").send("abc")
        c.request()
        c.read_body()
        ANSWERED[what](c)
        c.close()
        assert client.answer().status == 502
        assert b.is_idle()


def test_nothing_is_executed_twice(serve, beside):
    """An application whose processes end after each request, while the server believes that they stay."""
    app = beside(applications.FcgiApp("tcp", processes=3, requests=1))
    s = serve('ProxyPass "/app/" "%s/" enablereuse=on retry=0\n' % app.url)
    wrong = []

    def ask(name):
        client = s.client()
        for i in range(15):
            word = "%s-%d" % (name, i)
            client.request("POST", "/app/x?" + query("body", mark=word), body=word)
            answer = client.getresponse()
            body = answer.read()
            if (answer.status, body) != (200, word.encode()):
                wrong.append((word, answer.status, body))
        client.close()

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong
    assert sorted(app.words()) == sorted("%s-%d" % (name, i) for name in "abc" for i in range(15))


def test_what_lies_on_a_kept_connection_is_nobodys_answer(reuse):
    """Bytes that came behind an answer, or while nothing was asked: the connection is not used again."""
    b, s = reuse
    evil = reply("evil")
    with Client(s) as client:
        c = begin(client, b)
        c.send(evil).await_arrival()  # while it is idle
        client.get("/app/1")
        fresh = b.expect()
        with contextlib.suppress(AssertionError, OSError):
            c.send(evil)
        wait_until("it is closed", lambda: not c.is_open())
        fresh.read_body()
        # In one piece with the answer.
        fresh.send(reply("in order") + evil)
        assert client.answer().body == b"in order"
        client.get("/app/2")
        last = b.expect()
        wait_until("that one as well", lambda: not fresh.is_open())
        last.answer("good")
        assert client.answer().body == b"good"
        assert not log_lines(s, "evil")
