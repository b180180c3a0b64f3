"""mod_php and processes: what a request leaves behind, clients that leave, crashes, OPcache, restarts, the MPMs."""
import json
import os
import re
import threading

import pytest

import harness
import modphp
from harness import wait_until
from rawclient import TESTMUX
from test_mux import CANCEL, WINDOW, Mux

pytestmark = [modphp.built]


@pytest.fixture
def site(make):
    """site(files, config, …) starts a server with PHP inside."""
    return lambda files=None, config="", **kw: modphp.prepare(make, config, files, **kw).start()


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return ""


@pytest.mark.skipif(harness.MPM == "prefork", reason="for the MPMs that have threads")
def test_refused_where_there_are_threads(make):
    s = modphp.prepare(make)
    s.configure(modphp.LOAD, mpm=harness.MPM)
    result = s.run("-t")
    assert result.returncode != 0
    for word in ("mod_php serves one request at a time", "load mpm_prefork_module", "<ApplicationPool>", "php-fpm"):
        assert word in result.stderr, result.stderr
    result = s.run("-DFOREGROUND")
    assert result.returncode != 0 and "mpm_prefork_module" in result.stderr


# ---- what a request leaves behind ----

FIRST = """
    ini_set('precision', '3'); ini_set('memory_limit', '64M'); putenv('LEFT=over'); setlocale(LC_ALL, 'C.UTF-8'); chdir('/');
    header('X-Left: over'); http_response_code(418); $GLOBALS['left'] = 1; define('LEFT', 1); function left() {} class Left {}
    set_time_limit(1); ignore_user_abort(true); umask(0); mb_x(); date_default_timezone_set('Asia/Tokyo');
    set_error_handler(fn() => true); set_exception_handler(function () {}); register_shutdown_function(function () { echo 'bye'; });
    header_register_callback(function () { header('X-Called: back'); }); ob_start(fn($x) => strtoupper($x)); error_reporting(0);
    apache_setenv('LEFT', 'over'); apache_note('left', 'over'); session_start(); $_SESSION['a'] = 1; stream_wrapper_unregister('http');
    class Filter extends php_user_filter {} stream_filter_register('left', 'Filter'); assert_options(ASSERT_ACTIVE, 0); libxml();
    echo 'first';"""
SECOND = """
    echo json_encode([ini_get('precision'), ini_get('memory_limit'), getenv('LEFT'), setlocale(LC_ALL, 0), basename(getcwd()),
        headers_list(), http_response_code(), isset($GLOBALS['left']), defined('LEFT'), function_exists('left'),
        class_exists('Left'), ini_get('max_execution_time'), ignore_user_abort(), umask(), date_default_timezone_get(), ob_get_level(),
        error_reporting(), apache_getenv('LEFT'), apache_note('left'), isset($_SESSION), in_array('http', stream_get_wrappers()),
        in_array('left', stream_get_filters()), connection_status(), error_get_last(), count($_SERVER) > 20, $_GET, $_POST, $_COOKIE]);"""


@modphp.prefork
def test_nothing_stays(site):
    first = FIRST.replace("mb_x();", "").replace("libxml();", "").replace("\n", " ")
    s = site({"first.php": first, "second.php": SECOND, "broken.php": first + " undefined_function();"}, modphp.ONE_CHILD)
    fresh = s.get("/second.php")
    for path in ("/first.php", "/broken.php", "/first.php"):
        s.request("POST", path + "?a=1", {"Content-Type": "application/x-www-form-urlencoded", "Cookie": "c=1"}, b"b=1")
        again = s.get("/second.php")
        assert again.body == fresh.body
        assert "X-Left" not in again.headers and again.status == 200
    assert s.get("/first.php").status == 418


@modphp.prefork
@pytest.mark.parametrize("env", [{}, modphp.FRUGAL], ids=["pools", "malloc"])
def test_many_requests_take_no_more_memory(site, env):
    s = site({"a.php": "$a = []; for ($i = 0; $i < 2000; $i++) $a[] = str_repeat((string)$i, 50); setcookie('a', 'b'); apache_note('x', 'y');"
                       "echo json_encode([count($a), getenv('REMOTE_ADDR'), $_POST, getmypid(), getallheaders()]);"}, modphp.ONE_CHILD, env=env)

    def rounds(n):
        client = s.client()
        for i in range(n):
            client.request("POST", "/a.php?x=%d" % i, b"a=%d" % i, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = client.getresponse()
            assert answer.status == 200 and b'"a":"%d"' % i in answer.read()
            if (i + 1) % 50 == 0:
                client.close()
        client.close()

    def memory():
        pid = int(re.search(rb"\},(\d+),", s.request("POST", "/a.php", {}, b"").body.replace(b"[],", b"{},"))[1])
        return pid, int(harness.Process(pid).status()["VmRSS"].split()[0])

    rounds(100)
    before = memory()
    rounds(500)
    after = memory()
    assert after[0] == before[0], "the child was replaced"
    assert env != modphp.FRUGAL or after[1] - before[1] < 2048, (before, after)


@modphp.prefork
def test_asking_the_environment_takes_no_memory(site):
    """A script that runs for long may ask as often as it likes."""
    s = site({"a.php": "for ($i = 0; $i < (int)$_GET['n']; $i++) { getenv('SCRIPT_FILENAME'); getenv('DOCUMENT_ROOT'); apache_getenv('PATH'); } "
                       "echo getmypid();"}, modphp.ONE_CHILD)
    pid = int(s.get("/a.php?n=10").body)
    before = int(harness.Process(pid).status()["VmHWM"].split()[0])
    assert int(s.get("/a.php?n=300000").body) == pid
    assert int(harness.Process(pid).status()["VmHWM"].split()[0]) - before < 4096


@modphp.prefork
def test_sessions(site):
    s = site({"a.php": "session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo $_SESSION['n'];"})
    first = s.get("/a.php")
    assert first.body == b"1" and first.headers["Cache-Control"]
    cookie = first.headers["Set-Cookie"].split(";")[0]
    assert [s.get("/a.php", {"Cookie": cookie}).body for _ in range(3)] == [b"2", b"3", b"4"]
    assert s.get("/a.php").body == b"1"


# ---- one request at a time ----

@modphp.prefork
def test_pages_of_one_connection_wait_for_each_other(make):
    """Requests side by side on one connection (mod_testmux, as HTTP/2 will): pages one after the other, files meanwhile;
    one that is called off while it waits never begins."""
    port = harness.free_ports(1)[0]
    s = modphp.prepare(make, TESTMUX + "Listen 127.0.0.1:%d testmux\n" % port + modphp.ONE_CHILD,
                       {"long.php": "echo str_repeat('x', 300000); echo getmypid();", "short.php": "echo getmypid();", "never.php": "",
                        "a.txt": "file"})
    mark = s.path("tmp", "ran")
    s.write("htdocs/never.php", "<?php touch('%s');" % mark)
    s.start()
    with Mux(port) as m:
        m.open(1, "/long.php")
        m.until(lambda: len(m.streams[1]["body"]) == WINDOW)  # it is in the middle of its page now, and waits for credit
        m.open(3, "/short.php")
        m.open(5, "/never.php")
        m.open(7, "/a.txt")
        assert m.ended(7)[0]["body"] == b"file"
        assert m.streams[3]["status"] is None and m.streams[1]["end"] is None
        m.send(5, CANCEL)
        m.credit(1, 1000000)
        long, short = m.ended(1, 3)
        assert long["body"][:300000] == b"x" * 300000 and long["body"][300000:] == short["body"]
    assert s.get("/short.php").status == 200
    assert not os.path.exists(mark)


# ---- clients that leave ----

@modphp.prefork
def test_a_script_ends_when_its_client_has_left(site):
    s = site({"a.php": ""}, modphp.ONE_CHILD, output_buffering="0")
    log = s.path("tmp", "log")
    body = ("<?php ignore_user_abort(%s); register_shutdown_function(function () { file_put_contents('%s', 'status ' . connection_status() . "
            "' aborted ' . connection_aborted() . ' '); }); for ($i = 0; $i < 100000 && !connection_aborted(); $i++) { echo str_repeat('x', 10000); flush(); } %s")
    s.write("htdocs/a.php", body % ("false", log, "file_put_contents('%s.on', 'went on');" % log))
    s.write("htdocs/b.php", body % ("true", log, "file_put_contents('%s.on', 'went on');" % log))
    for path, went_on in (("/a.php", ""), ("/b.php", "went on")):
        with s.connect() as c:
            c.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            c.recv(1000)
        wait_until("the script ends", lambda: read(log))
        assert read(log) == "status 1 aborted 1 "
        assert read(log + ".on") == went_on
        os.unlink(log)


@modphp.prefork
def test_an_endless_script_is_stopped(site):
    s = site({"a.php": "set_time_limit(1); while (true);", "b.php": "echo getmypid();", "c.php": "while (true);"},
             modphp.ONE_CHILD + "<Files c.php>\nphp_value max_execution_time 1\n</Files>\n")
    pid = s.get("/b.php").body
    for path in ("/a.php", "/c.php"):
        assert s.get(path).status == 500
    assert s.error_log().count("Maximum execution time of 1 second exceeded") == 2
    assert s.get("/b.php").body == pid


# ---- crashes ----

@modphp.prefork
@pytest.mark.parametrize("how", ["killed", "recursion"])
def test_a_crash_ends_one_child_and_names_the_script(site, how):
    script = {"killed": "posix_kill(posix_getpid(), 11); while (true) sleep(1);",
              "recursion": "class A { function __get($n) { return $this->{$n . 'x'}; } } "
                           "function f($x) { return array_map('f', [$x]); } ini_set('memory_limit', '-1'); f(1);"}[how]
    s = site({"crash.php": script, "a.php": "echo getmypid();"},
             "StartServers 2\nMinSpareServers 2\nMaxSpareServers 4\nServerLimit 2\nMaxRequestWorkers 2\n", env=modphp.MAY_CRASH)
    children = {p.pid for p in s.children()}
    assert s.raw(b"GET /crash.php?q=1 HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    wait_until("the supervisor notices", lambda: "exit signal Segmentation fault (11)" in s.error_log())
    dead = int(re.search(r"child pid (\d+) exit signal", s.error_log())[1])
    assert dead in children
    notes = re.findall(r"^\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d\.\d{6} \d{4}\] \[php:crit\] \[pid %d:tid %d\] \[client 127\.0\.0\.1:\d+\] "
                       r"MU1610: the script (\S+) ended this process with SIGSEGV .*GET /crash\.php\?q=1" % (dead, dead), s.error_log(), re.M)
    assert notes == [s.path("htdocs", "crash.php")]
    assert all(p.is_alive() for p in map(harness.Process, children - {dead}))
    wait_until("another child is there", lambda: len(s.children()) == 2)
    assert int(s.get("/a.php").body) != dead
    assert s.error_log().count("MU1610") == 1


@modphp.prefork
def test_a_copy_of_the_process_answers_nobody(site):
    """pcntl_fork() in a page: the copy ends with the script, without a byte to the client."""
    s = site({"a.php": ""}, modphp.ONE_CHILD)
    mark = s.path("tmp", "mark")
    s.write("htdocs/a.php", "<?php if (!function_exists('pcntl_fork')) { echo 'parent'; file_put_contents('%s', 'copy'); exit; } "
                            "$p = pcntl_fork(); if (!$p) { echo 'never'; flush(); file_put_contents('%s', 'copy'); exit; } "
                            "pcntl_waitpid($p, $st); echo 'parent';" % (mark, mark))
    for _ in range(2):
        assert s.raw(b"GET /a.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\nparent")
    assert read(mark) == "copy"
    assert len(s.children()) == 1


# ---- OPcache ----

@modphp.prefork
def test_opcache_is_shared_by_the_children(site):
    """What one child compiled the others find: four at a time, no one compiles anything again."""
    s = site({"page.php": "return getmypid();", "gate.php": "",
              "status.php": "$s = opcache_get_status(true); $k = []; foreach ($s['scripts'] as $f => $x) $k[basename($f)] = $x['hits'];"
                            "echo json_encode([$s['opcache_statistics']['misses'], $k]);"},
             "StartServers 4\nMinSpareServers 4\nMaxSpareServers 6\nServerLimit 4\nMaxRequestWorkers 4\n")
    here, go = s.path("tmp", "here"), s.path("tmp", "go")
    s.write("htdocs/gate.php", "<?php file_put_contents('%s', getmypid() . ' ', FILE_APPEND); while (!file_exists('%s')) { clearstatcache(); "
                               "usleep(1000); } echo include 'page.php';" % (here, go))
    open(go, "w").close()
    assert int(s.get("/gate.php").body) in [p.pid for p in s.children()]  # compiles both
    os.unlink(go)
    os.unlink(here)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(int(s.get("/gate.php").body))) for _ in range(4)]
    for t in threads:
        t.start()
    wait_until("four wait at the gate", lambda: len(read(here).split()) == 4)
    open(go, "w").close()
    for t in threads:
        t.join()
    assert sorted(answers) == sorted(p.pid for p in s.children())
    misses, scripts = json.loads(s.get("/status.php").body)
    assert misses == 3 and scripts["page.php"] > 0 and scripts["gate.php"] > 0  # hits of a moment may be counted as one


@modphp.prefork
def test_opcache_sees_a_change(site):
    s = site({"a.php": "echo 'one';"})
    assert s.get("/a.php").body == b"one"
    s.write("htdocs/a.php", "<?php echo 'other';")
    os.utime(s.path("htdocs", "a.php"), (1000000000, 1000000000))
    assert s.get("/a.php").body == b"other"


# ---- restarts ----

def own_descriptors(server):
    """Of the supervisor, without those that it has for each of its children."""
    while True:
        children = {p.pid for p in server.children()}
        count = len(os.listdir("/proc/%d/fd" % server.pid)) - len(children)
        if children == {p.pid for p in server.children()}:
            return count


@modphp.prefork
def test_graceful_restart_under_load(site):
    s = site({"a.php": "usleep(2000); echo ini_get('precision'), str_repeat('x', 20000);"}, precision="5")
    stop, wrong, seen = threading.Event(), [], set()

    def load():
        while not stop.is_set():
            answer = s.get("/a.php")
            seen.add(answer.body[:1])
            if answer.status != 200 or len(answer.body) != 20001:
                wrong.append(answer)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    fds = own_descriptors(s)
    try:
        wait_until("the clients are answered", lambda: b"5" in seen)
        for precision in "678":
            s.write("conf/php.ini", modphp.ini_text(s.path("tmp"), True, {"precision": precision}))
            s.graceful()
            wait_until("the new php.ini holds", lambda p=precision: s.get("/a.php").body[:1] == p.encode())
            wait_until("for the others too", lambda p=precision: p.encode() in seen)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert wrong == [] and seen >= {b"5", b"6", b"7", b"8"}
    wait_until("nothing of the old generations is left open", lambda: own_descriptors(s) <= fds)


@modphp.prefork
def test_a_long_script_outlives_a_graceful_restart(site):
    s = site({"a.php": "", "b.php": "echo getmypid();"})
    begun, go = s.path("tmp", "begun"), s.path("tmp", "go")
    s.write("htdocs/a.php", "<?php touch('%s'); while (!file_exists('%s')) { clearstatcache(); usleep(1000); } echo 'done ', getmypid();" % (begun, go))
    answers = []
    t = threading.Thread(target=lambda: answers.append(s.get("/a.php").body))
    t.start()
    wait_until("the script runs", lambda: os.path.exists(begun))
    s.graceful()
    assert s.get("/b.php").status == 200
    open(go, "w").close()
    t.join()
    assert answers[0].startswith(b"done ")


@modphp.prefork
def test_a_bad_php_ini_or_extension_is_said(make):
    s = modphp.prepare(make, files={"a.php": "echo 1;"})
    with open(s.path("conf", "php.ini"), "a") as f:
        f.write("extension = nonesuch\n")
    s.start()
    assert s.get("/a.php").body == b"1"
    assert "Unable to load dynamic library 'nonesuch'" in s.error_log() + s.output()
