"""The FastCGI client and Debian's php-fpm, most of the time with one process: settings that never stick, what holds the process and what
does not, and how PHP tells of its errors."""
import itertools
import json
import os
import random

import pytest

import applications
from fcgi_backend import logged
from harness import Process, wait_until
from rawclient import Client

ONE = "pm = static\npm.max_children = 1"
INI = r"""<?php
header('Content-Type: text/plain');
foreach (explode(',', $_GET['n'] ?? '') as $n) if ($n) echo $n, '=', json_encode(ini_get($n)), "\n";
foreach ($_GET['set'] ?? [] as $n => $v) echo "set $n=", json_encode(ini_set($n, $v)), ' ', json_encode(ini_get($n)), "\n";
echo 'pid=', getmypid(), "\n";
"""
WORK = r"""<?php
ignore_user_abort(false);
$say = fn($word) => file_put_contents($_SERVER['MARKS'], "$word\n", FILE_APPEND);
$until = function ($path) { for ($i = 0; $i < 6000 && !file_exists($path); $i++) { usleep(10000); clearstatcache(); } };
$say($_GET['mark'] ?? 'ran');
if (isset($_GET['await'])) $until($_GET['await']);
if (isset($_GET['big'])) for ($i = 0; $i < $_GET['big']; $i += 1000) echo str_repeat(chr(97 + intdiv($i, 1000) % 26), 1000);
if (isset($_GET['finish'])) { echo "answered\n"; fastcgi_finish_request(); $until($_GET['finish']); $say('finished'); exit; }
if (isset($_GET['chatter'])) {
    register_shutdown_function(fn() => $say('shutdown ' . connection_aborted()));
    for ($i = 0; $i < 6000; $i++) { echo "word\n"; flush(); usleep(10000); }
}
if (isset($_GET['log'])) error_log($_GET['log']);
if (isset($_GET['crash'])) { http_response_code(200); undefined_function(); }
if (isset($_GET['status'])) http_response_code((int)$_GET['status']);
echo 'done ', strlen(file_get_contents('php://input')), "\n";
"""


class Site:
    """php-fpm with one process behind *.php; marks are what scripts say that they did."""

    def __init__(self, make, beside, config="", ports=1, files=None, pool=ONE, **settings):
        self.fpm = beside(applications.Fpm(pool, **settings))
        self.server = make(ports=ports, files={"index.html": "hello\n", "ini.php": INI, "work.php": WORK, **(files or {})})
        os.mkdir(self.server.path("marks"))
        os.chmod(self.server.path("marks"), 0o777)
        self.handler = '<FilesMatch "\\.php$">\nSetHandler "proxy:%s"\n</FilesMatch>\nSetEnv MARKS "%s"\n' % (self.fpm.url, self.mark("list"))
        self.server.configure(self.handler + config.replace("{fpm}", self.fpm.url).replace("{port2}", str(self.server.ports[-1])))
        self.server.start()

    def mark(self, name):
        return self.server.path("marks", name)

    def touch(self, name):
        open(self.mark(name), "w").close()

    def ran(self):
        try:
            with open(self.mark("list")) as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def settings(self, path, names, port=None, host="localhost"):
        """{name: value} as the script at `path` sees them."""
        answer = self.server.get(path + "ini.php?n=" + ",".join(names), {"Host": host}, port)
        assert answer.status == 200, (path, answer)
        return dict(line.split("=", 1) for line in answer.body.decode().splitlines() if not line.startswith("pid="))


@pytest.fixture
def site(make, beside):
    return lambda *args, **kwargs: Site(make, beside, *args, **kwargs)


# ---- settings ----

PLACES = """
<Directory "{root}/htdocs/a">
    php_value memory_limit 64M
    php_flag short_open_tag on
    php_value user_agent "agent of a"
    php_admin_value upload_max_filesize 3M
    php_admin_flag allow_url_fopen off
</Directory>
<Directory "{root}/htdocs/b">
    php_value memory_limit 96M
    php_value precision 5
    php_value include_path "/srv/b:/srv/c"
    php_value date.timezone Europe/Berlin
    php_flag session.cookie_httponly on
    php_value session.name ofb
    php_value default_charset ""
</Directory>
<Directory "{root}/htdocs/c">
    php_admin_value post_max_size 2M
    php_admin_value error_prepend_string "<c>"
    php_admin_flag file_uploads off
    php_value max_input_vars 77
    php_value variables_order EGPCS
</Directory>
<VirtualHost 127.0.0.1:{port2}>
    php_value memory_limit 33M
    php_admin_value user_agent "of the second"
</VirtualHost>
<VirtualHost 127.0.0.1:{port2}>
    ServerName third
</VirtualHost>
"""
SET = {"a": {"memory_limit": "64M", "short_open_tag": "1", "user_agent": "agent of a", "upload_max_filesize": "3M", "allow_url_fopen": "0"},
       "b": {"memory_limit": "96M", "precision": "5", "include_path": "/srv/b:/srv/c", "date.timezone": "Europe/Berlin",
             "session.cookie_httponly": "1", "session.name": "ofb", "default_charset": ""},
       "c": {"post_max_size": "2M", "error_prepend_string": "<c>", "file_uploads": "0", "max_input_vars": "77", "variables_order": "EGPCS"},
       "": {}, "second": {"memory_limit": "33M", "user_agent": "of the second"}, "third": {}}
NAMES = sorted({name for values in SET.values() for name in values})


def test_a_value_never_sticks(site):
    """One process serves six places in every order: each sees its own settings and php.ini's, nobody else's."""
    plain = site().settings("/", NAMES)  # nothing is configured there
    s = site(PLACES, ports=2, files={place + "/ini.php": INI for place in "abc"})
    visits = list(SET) * 6 + [place for pair in itertools.permutations(SET, 2) for place in pair]
    random.Random(7).shuffle(visits)
    for i, place in enumerate(visits):
        port = s.server.ports[1] if place in ("second", "third") else s.server.port
        seen = s.settings("/%s/" % place if len(place) == 1 else "/", NAMES, port, place if place == "third" else "localhost")
        expected = {name: '"%s"' % SET[place][name].replace("/", "\\/") if name in SET[place] else plain[name] for name in NAMES}
        assert seen == expected, (place, visits[max(0, i - 3):i], {n: (seen[n], expected[n]) for n in NAMES if seen[n] != expected[n]})


def test_settings_of_php_ini_come_back(site):
    """What php.ini says, not what PHP has built in, is in force where nothing is set."""
    s = site('<Location "/set.php">\nphp_value user_agent mine\nphp_value memory_limit 70M\nphp_value precision 3\nphp_flag display_errors off\n'
             'php_value session.save_path /nowhere\n</Location>\n', files={"set.php": INI},
             user_agent="of php.ini; and more", memory_limit="99M", precision="11")
    names = ("user_agent", "memory_limit", "precision", "display_errors", "session.save_path")
    before = s.settings("/", names)
    assert before["memory_limit"] == '"99M"' and before["precision"] == '"11"' and "of php.ini" in before["user_agent"]
    assert s.server.get("/set.php?n=user_agent,precision").body.startswith(b'user_agent="mine"\nprecision="3"\n')
    assert s.settings("/", names) == before


def test_what_a_script_may_change(site):
    """php_value is a script's to change for itself, php_admin_value is not; neither value is there for the next. (What php-fpm never
    takes back, and no server can, is that ini_set is refused for a name that php_admin_value had once in that process.)"""
    s = site('<Location "/open.php">\nphp_value user_agent value\n</Location>\n<Location "/shut.php">\nphp_admin_value user_agent admin\n</Location>\n',
             files={"open.php": INI, "shut.php": INI, "plain.php": INI})
    for _ in range(2):
        assert s.server.get("/open.php?set[user_agent]=own").body.startswith(b'set user_agent="value" "own"')
        assert s.server.get("/open.php?n=user_agent").body.startswith(b'user_agent="value"')
    for _ in range(2):
        assert s.server.get("/shut.php?set[user_agent]=own").body.startswith(b'set user_agent=false "admin"')
        assert s.server.get("/plain.php?n=user_agent").body.startswith(b'user_agent=""')
        assert s.server.get("/open.php?n=user_agent").body.startswith(b'user_agent="value"')


VALUES = ("plain", "two words", "a;b", "a#b", "a=b", "[section]", "${NOT_THERE}", "$x", "it's", "back\\slash", "E_ALL | E_STRICT", "none of it",
          "null", "yes", " blanks ", "%41", "!x", "(a)", "ünïcode", "a'b;c=d", "")


def test_a_value_arrives_as_it_is_written(site):
    """Whatever it means in an ini file."""
    s = site("".join('<Location "/%d/">\nphp_value user_agent "%s"\nphp_admin_value error_append_string "%s"\n</Location>\n' % (
        i, value.replace("\\", "\\\\"), value.replace("\\", "\\\\")) for i, value in enumerate(VALUES)),
        files={"%d/ini.php" % i: INI for i in range(len(VALUES))})
    for i, value in enumerate(VALUES):
        answer = s.server.get("/%d/ini.php?n=user_agent,error_append_string" % i)
        if answer.status == 500 and "'" in value and ("$" in value or "\\" in value):  # better than another value
            continue
        assert [json.loads(line.partition("=")[2]) for line in answer.body.decode().splitlines()[:2]] == [value, value]


@pytest.mark.parametrize("line", ['php_value user_agent "x\'y\\"z"', 'php_admin_value disable_functions exec'])
def test_what_php_cannot_be_told_is_refused(site, line):
    """Nothing is run with other settings than those that are written."""
    s = site('<Location "/work.php">\n%s\n</Location>\n' % line)
    assert s.server.get("/work.php").status == 500 and s.ran() == []
    logged(s.server, ":error]", line.split()[1].strip('"').split()[0])
    assert s.server.get("/ini.php?n=user_agent").body.startswith(b"user_agent=")


def test_a_client_sets_nothing(site):
    """Neither a header field nor a query; and what SetEnv says is php_value's equal."""
    s = site('SetEnv PHP_VALUE "precision=4"\n<Location "/x.php">\nphp_value user_agent mine\n</Location>\n', files={"x.php": INI})
    fields = {"PHP-Value": "user_agent=evil", "Php-Admin-Value": "user_agent=evil", "User-Agent": "x\nuser_agent=evil".replace("\n", " ")}
    answer = s.server.get("/ini.php?n=user_agent,precision&PHP_VALUE=user_agent=evil", fields)
    assert b'user_agent=""\nprecision="4"' in answer.body
    assert b'user_agent="mine"\nprecision="4"' in s.server.get("/x.php?n=user_agent,precision", fields).body


# ---- what holds the process ----

def test_a_slow_upload_does_not_hold_the_process(site):
    s = site()
    with Client(s.server) as slow:
        slow.get("/work.php?mark=slow", "Content-Length: 10\r\nExpect: 100-continue\r\n", "POST")
        assert slow.head().status == 100
        slow.send("hello")
        for _ in range(3):
            assert s.server.request("POST", "/work.php?mark=quick", body="12345").body == b"done 5\n"
        slow.send("world")
        assert slow.answer().body == b"done 10\n"
    assert s.ran() == ["quick"] * 3 + ["slow"]


def test_a_slow_reader_does_not_hold_the_process(site):
    s = site()
    n = 5_000_000
    with Client(s.server, receive_buffer=4096) as slow:
        slow.get("/work.php?mark=slow&big=%d" % n)
        wait_until("it is begun", lambda: s.ran() == ["slow"])
        assert s.server.get("/work.php?mark=quick").body == b"done 0\n"
        body = slow.answer().body
    assert len(body) == n + 7 and all(body[i] == 97 + i // 1000 % 26 for i in range(0, n, 499))


def test_no_connection_is_kept(site):
    """The one process serves connection after connection, whichever child of the server asks."""
    s = site("KeepAliveTimeout 60\n")
    clients = [Client(s.server) for _ in range(6)]
    for i in range(4):
        for client in clients:
            client.get("/work.php")
        for client in clients:
            assert client.answer().body == b"done 0\n"
    assert s.ran() == ["ran"] * 24
    for client in clients:
        client.s.close()


def test_kept_connections(site):
    """enablereuse=on with as many processes as connections can be kept."""
    s = site('<Proxy "unix:SOCKET|fcgi://localhost">\nProxySet enablereuse=on max=1\n</Proxy>\n'.replace("unix:SOCKET|fcgi://localhost", "{fpm}"),
             pool="pm = static\npm.max_children = 30")
    with Client(s.server) as client:
        pids = set()
        for _ in range(10):
            client.get("/ini.php")
            pids.add(client.answer().body)
        assert len(pids) == 1  # the same process, over the same connection


def test_the_answer_is_complete_before_the_script_is(site):
    """fastcgi_finish_request: the client has it all, while the script goes on."""
    s = site()
    with Client(s.server) as client:
        a = client.get("/work.php?mark=begun&finish=" + s.mark("gate")).answer()
        assert (a.status, a.body) == (200, b"answered\n")
        assert s.ran() == ["begun"]
    s.touch("gate")
    wait_until("it goes on to its end", lambda: s.ran() == ["begun", "finished"])


def test_a_client_that_leaves(site):
    """The script ends when it next writes, and the process is free for others."""
    s = site('<Proxy "{fpm}">\nProxySet flushpackets=on\n</Proxy>\n')
    with Client(s.server) as client:
        client.get("/work.php?mark=begun&chatter")
        client.head()
        assert client.chunk().startswith(b"word\n")
    wait_until("it is over", lambda: s.ran() == ["begun", "shutdown 1"])
    assert s.server.get("/work.php").body == b"done 0\n"


def test_a_killed_process(site):
    """502 for who was served by it, nothing for the others."""
    s = site()
    with Client(s.server) as client:
        client.get("/work.php?mark=begun&await=" + s.mark("gate"))
        wait_until("it runs", lambda: s.ran() == ["begun"])
        workers = [p for p in s.fpm.processes() if p.ppid() == s.fpm.process.pid]
        assert len(workers) == 1
        os.kill(workers[0].pid, 9)
        assert client.answer().status == 502
        wait_until("it is gone", lambda: not Process(workers[0].pid).is_alive())
        assert client.get("/work.php?mark=next").answer().body == b"done 0\n"
    assert s.ran() == ["begun", "next"]
    logged(s.server, "[proxy_fcgi:error]", s.fpm.socket)


# ---- what PHP says ----

def test_errors_of_php_are_in_the_log(site):
    s = site()
    assert s.server.get("/work.php?log=a+word+of+the+script").status == 200
    logged(s.server, "[proxy_fcgi:error]", "unix:" + s.fpm.socket, "a word of the script")
    assert s.server.get("/work.php?crash").status in (200, 500)
    logged(s.server, "PHP Fatal error", "undefined_function", "work.php")


def test_statuses_and_pages(site):
    s = site('ErrorDocument 404 /index.html\n<Location "/over">\nProxyErrorOverride On 404\n</Location>\n', files={"over/work.php": WORK})
    for status in (200, 201, 403, 404, 410, 500, 503):
        a = s.server.get("/work.php?status=%d" % status)
        assert (a.status, a.body) == (status, b"done 0\n")
        a = s.server.get("/over/work.php?status=%d" % status)
        assert (a.status, a.body) == (status, b"hello\n" if status == 404 else b"done 0\n")
    a = s.server.request("HEAD", "/work.php")
    assert (a.status, a.body) == (200, b"") and a.headers["Content-Type"].startswith("text/html")


def test_where_the_script_ends(site):
    """Path information by a handler and by the lines that people have in their configurations."""
    show = "<?php echo $_SERVER['SCRIPT_NAME'], '|', $_SERVER['PATH_INFO'] ?? '', '|', $_SERVER['PHP_SELF'], '|', $_SERVER['SCRIPT_FILENAME'];"
    s = site('ProxyPassMatch "^/m/(.*\\.php(/.*)?)$" "{fpm}{root}/htdocs/$1"\n<Location "/m">\nProxyFCGIBackendType FPM\n</Location>\n',
             files={"show.php": show, "sub/show.php": show})
    docs = s.server.path("htdocs")
    assert s.server.get("/show.php").body.decode() == "/show.php||/show.php|%s/show.php" % docs
    assert s.server.get("/show.php/a/b").body.decode() == "/show.php|/a/b|/show.php/a/b|%s/show.php" % docs
    assert s.server.get("/sub/show.php/a%20b?x=/y").body.decode() == "/sub/show.php|/a b|/sub/show.php/a b|%s/sub/show.php" % docs
    for path in ("/m/show.php", "/m/show.php/info", "/m/sub/show.php"):
        name, info, _, file = s.server.get(path).body.decode().split("|")
        assert file == docs + path[2:].removesuffix("/info") and (info == "/info") == path.endswith("/info")
    for path in ("/none.php", "/m/none.php", "/sub/none.php/info"):
        assert s.server.get(path).status == 404
