"""CGI: what passes between client and program: bodies, answers, redirects, errors, all of it as it is produced.

Heads that could split an answer are in test_apps_security.py, a gigabyte each way in test_apps_big.py.
"""
import contextlib
import os
import select
import signal
import threading
import zlib

import pytest

import harness
from harness import wait_until

MIB = 1 << 20


def numbered(n):
    """n bytes in which nothing repeats itself."""
    return b"".join(b"%07d\n" % i for i in range(n // 8 + 1))[:n]


def expected_sum(data):
    return b"%d %08x\n" % (len(data), zlib.crc32(data))


# ---- bodies ----

ECHO_FIRST = """
note("has " + read(6).decode().strip())
gate("go")
head()
out("%d %s\\n" % rest())
"""


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_reaches_the_script_as_it_comes(cgi, framing):
    """The script has read the beginning before the client sends what follows."""
    s = cgi()
    s.python("first", ECHO_FIRST)
    s.gate("go")
    s.open_gate()
    chunked = framing == "chunked"
    c = s.ask("/cgi/first", "Transfer-Encoding: chunked\r\n" if chunked else "Content-Length: 106\r\n", "POST")
    c.send(b"6\r\nfirst\n\r\n" if chunked else b"first\n")
    s.await_note("has first")
    more = numbered(100)
    c.send(b"32\r\n%s\r\n32\r\n%s\r\n0\r\n\r\n" % (more[:50], more[50:]) if chunked else more)
    assert c.answer().body == expected_sum(more)
    assert c.get("/index.html").answer().body == b"hello\n"  # nothing is left of it


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_reader_holds_the_client_back(cgi, framing):
    """While a script does not read, the server takes no more of a large body than its buffers hold, and serves others."""
    s = cgi("LimitRequestBody 0\n")
    s.python("first", ECHO_FIRST)
    s.gate("go")
    total, piece = 48 * MIB, numbered(MIB)
    sent = [0]
    chunked = framing == "chunked"
    c = s.client()
    c.get("/cgi/first", "Transfer-Encoding: chunked\r\n" if chunked else "Content-Length: %d\r\n" % (total + 6), "POST")
    c.send(b"6\r\nfirst\n\r\n" if chunked else b"first\n")
    s.await_note("has first")

    def send():
        for _ in range(total // MIB):
            for at in range(0, MIB, 65536):
                c.send(b"10000\r\n%s\r\n" % piece[at:at + 65536] if chunked else piece[at:at + 65536])
                sent[0] += 65536
        if chunked:
            c.send("0\r\n\r\n")

    sender = s.background(send)

    def stands_still():
        before = sent[0]
        s.static_is_served(50)
        return sent[0] == before

    wait_until("the client is held back", stands_still)
    assert sent[0] < total and sender.is_alive()
    s.open_gate("go")
    crc = 0
    for _ in range(total // MIB):
        crc = zlib.crc32(piece, crc)
    assert c.answer().body == b"%d %08x\n" % (total, crc)
    sender.join()
    assert sent[0] == total


def test_both_ways_at_once(cgi):
    """cat: what goes in comes out while the rest is still on its way in."""
    s = cgi()
    s.sh("cat", "head; exec cat\n")
    body = numbered(24 * MIB)
    c = s.ask("/cgi/cat", "Content-Length: %d\r\n" % len(body), "POST")
    sender = s.background(c.send, body)
    assert c.answer().body == body
    sender.join()
    # Piece by piece: each comes back before the next is sent.
    c.get("/cgi/cat", "Transfer-Encoding: chunked\r\n", "POST")
    assert c.head()["Transfer-Encoding"] == "chunked"
    for i in range(50):
        c.send("7\r\npiece%02d\r\n" % i)
        got = b""
        while len(got) < 7:
            got += c.chunk()
        assert got == b"piece%02d" % i
    c.send("0\r\n\r\n")
    assert c.chunk() == b""


@pytest.mark.parametrize("n", [5, 3 * MIB])
def test_a_script_that_ignores_its_body(cgi, n):
    s = cgi()
    s.sh("answer", "head; echo answer; exec <&-; note answered\n")
    c = s.ask("/cgi/answer", "Content-Length: %d\r\n" % n, "POST")

    def send():
        with contextlib.suppress(OSError):  # the server need not wait for all of it
            c.send(b"x" * n)

    sender = s.background(send)
    a = c.head()
    assert a.status == 200
    body = c.read_exactly(7) if a["Content-Length"] == "7" else c.chunk()
    assert body == b"answer\n"
    s.static_is_served()
    c.s.close()
    sender.join()
    assert s.get("/cgi/answer").body == b"answer\n"


def test_a_body_that_breaks_off(cgi):
    """The client leaves in the middle of its body: the script is ended."""
    s = cgi()
    s.gate("never")
    s.python("sum", 'signal.signal(signal.SIGTERM, lambda *_: (note("ended"), os._exit(0)))\n'
                    'note("has " + read(6).decode().strip())\nrest()\ngate("never")\n')
    c = s.ask("/cgi/sum", "Content-Length: 1000\r\n", "POST").send(b"first\nmore")
    s.await_note("has first")
    c.s.close()
    s.await_note("ended")
    s.static_is_served()


def test_a_broken_chunk_in_the_middle(cgi):
    s = cgi()
    s.python("sum", 'note("has " + read(6).decode().strip())\nn = rest()\nhead()\nout("complete %d %s" % n)\n')
    c = s.ask("/cgi/sum", "Transfer-Encoding: chunked\r\n", "POST").send(b"6\r\nfirst\n\r\n")
    s.await_note("has first")
    c.send(b"zz\r\n")
    answer = c.answer()
    assert answer.status == 400 and b"complete" not in answer.body
    assert c.is_closed()


# ---- answers as they are made ----

@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_output_comes_as_it_is_produced(cgi, version):
    """The client has read a line before the script writes the next."""
    s = cgi()
    s.sh("lines", 'head; for i in 1 2 3; do echo "line $i"; gate "gate$i"; note "past $i"; done\n')
    s.gate("gate1", "gate2", "gate3")
    c = s.ask("/cgi/lines", version=version)
    if version == "1.1":
        assert c.head()["Transfer-Encoding"] == "chunked"
    else:
        c._until(b"\r\n\r\n")
    for i in (1, 2, 3):
        line = c.chunk() if version == "1.1" else c.read_exactly(7)
        assert line == b"line %d\n" % i
        assert s.notes() == ["past %d" % k for k in range(1, i)]
        s.open_gate("gate%d" % i)
    assert (c.chunk() if version == "1.1" else c.rest()) == b""


def test_a_head_alone_is_sent_before_a_body_follows(cgi):
    s = cgi()
    s.sh("head", 'printf "Status: 202 Wait\\nContent-Type: text/x-a\\n"; gate one; printf "X-Late: b\\n\\n"; gate two; echo body\n')
    s.gate("one", "two")
    c = s.ask("/cgi/head")
    s.static_is_served()
    s.open_gate("one")
    a = c.head()
    assert (a.status, a["Content-Type"], a["X-Late"]) == (202, "text/x-a", "b")
    s.open_gate("two")
    assert c.chunk() == b"body\n" and c.chunk() == b""


def test_a_slow_client_holds_the_script_back(cgi):
    """A script writes no faster than its client reads, and nothing of its output is lost."""
    s = cgi()
    s.python("much", 'head()\nblock = b"".join(b"%07d\\n" % i for i in range(131072))\n'
                     'for i in range(32):\n    out(block)\n    note("wrote %d" % i)\nnote("done")\n')
    c = s.client(receive_buffer=4096).get("/cgi/much")
    assert c.head().status == 200

    def stands_still():
        before = len(s.notes())
        s.static_is_served(50)
        return len(s.notes()) == before

    wait_until("the script is held back", stands_still)
    assert len(s.notes()) < 32
    s.hurry(c)
    total, crc = 0, 0
    while True:
        piece = c.chunk()
        if not piece:
            break
        total, crc = total + len(piece), zlib.crc32(piece, crc)
    expected = 0
    for _ in range(32):
        expected = zlib.crc32(numbered(MIB), expected)
    assert (total, crc) == (32 * MIB, expected)
    s.await_note("done")


# ---- heads ----

def printing(s, name, head, more=""):
    """A script that prints these bytes."""
    s.server.write("cgi/%s.out" % name, head)
    s.sh(name, 'cat "./%s.out"\n%s' % (name, more))
    return "/cgi/" + name


def test_status_and_fields(cgi):
    s = cgi()
    for number, (head, status, reason, body) in enumerate((
            ("Status: 404 Lost\nContent-Type: text/plain\n\nnot here", 404, None, b"not here"),
            ("Content-Type: text/plain\r\nStatus: 201\r\n\r\nmade", 201, "Created", b"made"),
            ("Status: 299 Odd one\nContent-Type: text/plain\n\nodd", 299, "Odd one", b"odd"),
            ("Status: 500 Mine\nContent-Type: text/plain\n\nmy own page", 500, None, b"my own page"),
            ("Content-Type: text/plain\n\n", 200, "OK", b""),
            ("content-type: text/plain\nX-Nothing:\n\n\n\nlines", 200, "OK", b"\n\nlines"),
            ("Status: 204 None\n\nthrown away", 204, None, b""),
            ("Status: 304 Same\nETag: \"a\"\n\nthrown away", 304, None, b""))):
        c = s.ask(printing(s, "s%d" % number, head))
        answer = c.answer()
        assert (answer.status, answer.body) == (status, body), head
        assert reason in (None, answer.reason) and answer["Status"] is None
        assert answer["Connection"] == "close" or c.get("/index.html").answer().body == b"hello\n"
    fields = ("Set-Cookie: a=1\nSet-Cookie: b=2\nX-Foo: bar\nContent-Type: text/x-own\nCache-Control: no-store\n"
              "Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT\nContent-Length: 4\nDate: never\n\nbody")
    with_fields = s.ask(printing(s, "fields", fields)).answer()
    assert [v for n, v in with_fields.headers if n == "Set-Cookie"] == ["a=1", "b=2"]
    assert (with_fields["X-Foo"], with_fields["Content-Type"], with_fields["Content-Length"]) == ("bar", "text/x-own", "4")
    assert with_fields["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT" and with_fields["Cache-Control"] == "no-store"
    assert with_fields["Date"] != "never" and with_fields["Transfer-Encoding"] is None
    c = s.ask("/cgi/fields", method="HEAD")
    assert c.answer("HEAD")["X-Foo"] == "bar"
    assert c.get("/index.html").answer().body == b"hello\n"


def test_redirects_for_the_client(cgi):
    s = cgi()
    for number, (head, status, location) in enumerate((
            ("Location: http://a.example/b?c\n\n", 302, "http://a.example/b?c"),
            ("Location: https://a.example/\nStatus: 301 Moved\n\n", 301, "https://a.example/"),
            ("Status: 303 Go\nLocation: http://a.example/\nContent-Type: text/plain\n\n", 303, "http://a.example/"),
            ("Status: 201 Made\nLocation: http://a.example/new\nContent-Type: text/plain\n\n", 201, "http://a.example/new"))):
        answer = s.ask(printing(s, "l%d" % number, head)).answer()
        assert (answer.status, answer["Location"]) == (status, location), head


def test_redirects_within_the_server(cgi):
    """Another GET without a body, whose answer is sent; the fields of the first are kept as in httpd, its body is not."""
    s = cgi('<Directory "{root}/htdocs/closed">\nRequire all denied\n</Directory>\n',
            files={"index.html": "hello\n", "closed/secret": "secret"})
    s.sh("tell", 'head; echo "$REQUEST_METHOD $QUERY_STRING $PATH_INFO $REDIRECT_STATUS $REDIRECT_URL ${CONTENT_LENGTH-none}"; cat\n')
    printing(s, "file", "Location: /index.html\nX-Kept: a\nSet-Cookie: b=1\n\ndropped")
    printing(s, "script", "Location: /cgi/tell/info?q=1\n\n")
    printing(s, "closed", "Location: /closed/secret\n\n")
    printing(s, "missing", "Location: /none\n\n")
    printing(s, "loop", "Location: /cgi/loop\n\n", "note looped\n")
    answer = s.ask("/cgi/file").answer()
    assert (answer.status, answer.body, answer["X-Kept"], answer["Set-Cookie"]) == (200, b"hello\n", "a", "b=1")
    assert answer["Location"] is None
    told = b"GET q=1 /info 200 /cgi/script none\n"
    assert s.get("/cgi/script?old").body == told
    assert s.post("/cgi/script", "body").body == told
    assert s.get("/cgi/closed").status == 403
    assert s.get("/cgi/missing").status == 404
    assert s.get("/cgi/loop").status == 500
    assert 1 < len(s.notes("looped")) <= 12
    s.await_log("LimitInternalRecursion")


NO_HEAD = {
    "nothing": "",
    "not a field": "echo nonsense\n",
    "a head that ends in the middle": "printf 'Content-Type: text/plain\\nX-A: b\\n'\n",
    "killed before it": "kill -9 $$\n",
    "a status that is not 0": "exit 3\n",
}


@pytest.mark.parametrize("case", NO_HEAD)
def test_without_a_head_there_is_an_error_with_its_reason_in_the_log(cgi, case):
    s = cgi()
    s.sh("broken", 'echo "the reason why" >&2\n' + NO_HEAD[case])
    c = s.ask("/cgi/broken")
    answer = c.answer()
    assert answer.status == 500 and b"nonsense" not in answer.body and b"the reason why" not in answer.body
    s.await_log("the reason why")
    wait_until("another line says what is wrong", lambda: [
        line for line in s.log_lines("/cgi/broken") if "error]" in line and "the reason why" not in line])
    assert answer["Connection"] == "close" and c.is_closed()


def test_an_answer_that_breaks_off_does_not_look_complete(cgi):
    """Killed in the middle of its body: the last chunk never comes."""
    s = cgi()
    s.sh("killed", 'head; echo first; gate go; kill -9 $$\n')
    s.gate("go")
    c = s.ask("/cgi/killed")
    assert c.head().status == 200 and c.chunk() == b"first\n"
    s.open_gate("go")
    assert c.is_closed()
    s.await_log("/cgi/killed")


@pytest.mark.skipif(os.geteuid() != 0, reason="stops a process of the server's user")
def test_an_answer_that_breaks_off_beside_a_helper_that_is_late(cgi):
    """How the script ended is known by the helper alone, which gets no processor for a while."""
    s = cgi("KeepAliveTimeout 500ms\n")
    s.sh("killed", 'head; echo first; gate go; kill -9 $$\n')
    s.gate("go")
    c = s.ask("/cgi/killed")
    assert c.head().status == 200 and c.chunk() == b"first\n"
    helper = next(p for p in s.server.children() if p.name() == "muster-cgi")
    os.kill(helper.pid, signal.SIGSTOP)
    try:
        s.open_gate("go")
        wait_until("the script has ended", lambda: not any(p.is_alive() and p.ppid() == helper.pid for p in harness.processes()))
        later = s.ask("/index.html")
        assert later.answer().status == 200 and later.is_closed()  # which took longer than a script is waited for
        assert not select.select([c.s], [], [], 0)[0]
    finally:
        os.kill(helper.pid, signal.SIGCONT)
    assert c.is_closed()
    s.await_log("/cgi/killed")


# ---- stderr and ScriptLog ----

def test_standard_error_goes_to_the_log_line_by_line(cgi):
    s = cgi()
    s.python("err", r"""
os.write(2, b"first line\nsec")
os.write(2, b"ond line\n")
gate("go")
os.write(2, b"evil \x1b[31m \x07 \xff\r\n[Sat Nov 21 2026] forged\n\n")
os.write(2, b"l" * 100000 + b"END\n")
os.write(2, b"without an end")
head()
out("ok")
""")
    s.gate("go")
    c = s.ask("/cgi/err")
    s.await_log("second line")  # while the script runs
    s.open_gate("go")
    assert c.answer().body == b"ok"
    s.await_log("without an end")
    log = s.server.error_log()
    assert len(s.log_lines("first line")) == 1 and "first line" not in s.log_lines("second line")[0]
    for text in ("first line", "second line", "forged", "without an end"):
        line = s.log_lines(text)[0]
        assert line.startswith("[") and "/cgi/err" in line and "127.0.0.1" in line, line
    assert "\x1b" not in log and "\x07" not in log and not [line for line in log.splitlines() if line.startswith("[Sat Nov 21 2026]")]
    assert "lll" in log and all(len(line) < 20000 for line in log.splitlines())


def test_much_of_it_stops_nobody(cgi):
    """A script whose errors fill any pipe is heard to the end, before, beside and behind its answer."""
    s = cgi(log_level="notice")
    s.python("flood", 'for _ in range(500):\n    os.write(2, b"before " * 100 + b"\\n")\nhead()\n'
                      'for _ in range(100):\n    out(b"x" * 5000)\n    os.write(2, b"beside " * 100 + b"\\n")\n'
                      'os.close(1)\nos.write(2, b"behind all\\n")\n')
    answer = s.get("/cgi/flood")
    assert answer.body == b"x" * 500000
    s.await_log("behind all")
    assert len(s.log_lines("before ")) == 500 and len(s.log_lines("beside ")) == 100


def script_log(s):
    with open(s.server.path("logs/script.log"), errors="replace") as f:
        return f.read()


def test_script_log(cgi):
    """What failed is there with the request, the answer and stderr, as httpd writes it; what did not fail is not."""
    s = cgi('ScriptLog "{root}/logs/script.log"\nScriptLogBuffer 20\n')
    s.server.write("logs/script.log", "")
    os.chmod(s.server.path("logs/script.log"), 0o666)
    s.sh("good", "head; echo fine\n")
    s.sh("bad", 'cat > /dev/null; echo "what went wrong" >&2; printf "X-Said: this\\nnonsense\\n"\n')
    assert s.get("/cgi/good").status == 200
    assert s.post("/cgi/bad?q=1", "the body that was sent", {"X-Asked": "that"}).status == 500
    wait_until("it is logged", lambda: "%stderr" in script_log(s) or "nonsense" in script_log(s))
    log = script_log(s)
    first, second = log.splitlines()[:2]
    assert first.startswith("%% [") and first.endswith("] POST /cgi/bad?q=1 HTTP/1.1")
    assert second == "%% 500 " + s.server.path("cgi/bad")
    assert log.index("%request\n") < log.index("X-Asked: that\n") < log.index("%response\n") < log.index("nonsense")
    # The first twenty bytes of the body.
    assert "the body that was se" in log and "the body that was sent" not in log
    assert "fine" not in log and "/cgi/good" not in log
    assert s.get("/cgi/none").status == 404
    wait_until("that as well", lambda: "%% 404 " + s.server.path("cgi/none") in script_log(s))
    assert "%error\n" in script_log(s)


def test_script_log_length(cgi):
    s = cgi('ScriptLog "{root}/logs/script.log"\nScriptLogLength 600\n')
    s.server.write("logs/script.log", "")
    os.chmod(s.server.path("logs/script.log"), 0o666)
    s.sh("bad", "echo nonsense\n")
    for _ in range(12):
        assert s.get("/cgi/bad").status == 500
    wait_until("something is logged", lambda: script_log(s))
    blocks = script_log(s).count("%request")
    assert 1 <= blocks < 10  # httpd looks before it writes: one block may be over
    assert len(script_log(s)) < 1200


def test_many_scripts_at_once(cgi):
    """Sixteen clients, each with a connection of its own, get their own answers."""
    s = cgi("<IfModule mpm_prefork_module>\nStartServers 16\n</IfModule>\n")
    s.c("echo", 'char b[4096];\nssize_t n;\nsay("Content-Type: text/plain\\n\\n");\nsay(getenv("QUERY_STRING"));\n'
                'while ((n = read(0, b, sizeof b)) > 0) out(b, n);\nreturn 0;')
    wrong = []

    def ask(number):
        client = s.server.client()
        for i in range(20):
            client.request("POST", "/cgi/echo?n=%d-%d" % (number, i), body="body %d" % number)
            answer = client.getresponse()
            body = answer.read()
            if (answer.status, body) != (200, b"n=%d-%dbody %d" % (number, i, number)):
                wrong.append((answer.status, body))
        client.close()

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(harness.PATIENCE)
    assert not wrong, wrong[:3]
    assert wait_until("no script is left", lambda: not [p for p in s.server.family() if p.name() == "echo"])
