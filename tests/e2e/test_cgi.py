"""CGI: which files are programs, and what a program is given: variables, arguments, descriptors, signals, a folder.

What no client can make of all this is in test_apps_security.py, what a program answers in test_cgi_answer.py.
"""
import os
import re

import pytest

import harness
from cgiscripts import variables

NAME = 'head; echo "$SCRIPT_NAME $SCRIPT_FILENAME ${PATH_INFO-none}"\n'
# The environment as it was when the program began; nothing that an interpreter adds.
ENVIRON = 'head(); out(open("/proc/self/environ").read().replace("\\0", "\\n"))\n'


# ---- which ----

def test_every_way_to_name_a_script(cgi):
    s = cgi("""
ScriptAliasMatch "^/any/(\\w+)/run" "{root}/cgi/$1.sh"
<Location "/one">
    ScriptAlias "{root}/cgi/name.sh"
</Location>
<Directory "{root}/htdocs/ext">
    Options +ExecCGI
    AddHandler cgi-script .sh
    DirectoryIndex name.sh
</Directory>
<Directory "{root}/htdocs/handler">
    Options +ExecCGI
    SetHandler cgi-script
</Directory>
<Directory "{root}/htdocs/type">
    Options +ExecCGI
    AddType application/x-httpd-cgi .sh
</Directory>
""")
    for folder in ("cgi", "htdocs/ext", "htdocs/handler", "htdocs/type"):
        s.sh("name.sh", NAME, folder)
    s.server.write("htdocs/ext/plain.txt", "plain")
    for url, name, script, info in (
            ("/cgi/name.sh", "/cgi/name.sh", "cgi/name.sh", "none"),
            ("/cgi/name.sh/a/b", "/cgi/name.sh", "cgi/name.sh", "/a/b"),
            ("/any/name/run", "/any/name/run", "cgi/name.sh", "none"),
            ("/one", "/one", "cgi/name.sh", "none"),
            ("/ext/name.sh/a", "/ext/name.sh", "htdocs/ext/name.sh", "/a"),
            ("/ext/", "/ext/name.sh", "htdocs/ext/name.sh", "none"),
            ("/handler/name.sh", "/handler/name.sh", "htdocs/handler/name.sh", "none"),
            ("/type/name.sh/", "/type/name.sh", "htdocs/type/name.sh", "/")):
        answer = s.get(url)
        assert (answer.status, answer.body.decode()) == (200, "%s %s %s\n" % (name, s.server.path(script), info)), url
    assert s.get("/ext/plain.txt").body == b"plain"


def test_what_is_no_script(cgi):
    s = cgi()
    s.sh("name.sh", NAME, "cgi/folder")
    assert s.get("/cgi/").status == 403
    assert s.get("/cgi/none").status == 404
    assert s.get("/cgi/none/name.sh").status == 404
    assert s.get("/cgi/folder/name.sh").status == 200
    s.await_log("/cgi/none")


def test_a_script_as_an_error_page(cgi):
    s = cgi("ErrorDocument 404 /cgi/error.sh\n")
    s.sh("error.sh", 'head; echo "$REDIRECT_STATUS $REDIRECT_URL $REQUEST_METHOD $REQUEST_URI"; cat\n')
    for method in ("GET", "POST"):
        answer = s.server.request(method, "/missing?q=1", body="text" if method == "POST" else None)
        assert (answer.status, answer.body) == (404, b"404 /missing GET /missing?q=1\n")


@pytest.mark.parametrize("fails", ["exit 1\n", "echo nonsense\n"])
def test_a_script_as_an_error_page_that_fails(cgi, fails):
    """The first error is the answer, and the page names both."""
    s = cgi("ErrorDocument 403 /cgi/fails.sh\n<Location /closed>\nRequire all denied\n</Location>\n")
    s.sh("fails.sh", fails)
    answer = s.get("/closed/x")
    assert answer.status == 403 and b"<h1>Forbidden</h1>" in answer.body
    assert b"Additionally, a 500 Internal Server Error" in answer.body


@pytest.mark.parametrize("accepts,status", [("Off", 404), ("On", 200), ("Default", 200)])
def test_accept_path_info(cgi, accepts, status):
    s = cgi("AcceptPathInfo %s\n" % accepts)
    s.sh("name.sh", NAME)
    assert s.get("/cgi/name.sh").status == 200
    assert s.get("/cgi/name.sh/").status == status
    answer = s.get("/cgi/name.sh/more/of%20it")
    assert answer.status == status
    assert answer.body.endswith(b"/cgi/name.sh /more/of it\n") == (status == 200)


def test_as_debians_threaded_trees_say_it(cgi):
    """The other module's name, its socket that nobody needs, and nothing loaded that is not named."""
    s = cgi("""
<IfModule mod_cgid.c>
    # Socket for cgid communication
    ScriptSock ${APACHE_RUN_DIR}/cgisock
    CGIDScriptTimeout 20s
    Alias "/which/" "{root}/htdocs/cgid/"
</IfModule>
""", before="""
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule alias_module modules/mod_alias.so
LoadModule env_module modules/mod_env.so
LoadModule mime_module modules/mod_mime.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
Define APACHE_RUN_DIR {root}/logs
""", files={"cgid/name": "cgid", "index.html": "hello\n"})
    s.sh("name.sh", NAME)
    assert s.get("/cgi/name.sh").status == 200
    assert s.get("/which/name").body == b"cgid"


def test_action_and_script(cgi):
    s = cgi("""
AddHandler fancy .fnc
Action fancy /cgi/tell.sh
AddType text/x-odd .odd
Action text/x-odd /cgi/tell.sh
Action ghost /cgi/tell.sh virtual
<Location "/ghost">
    SetHandler ghost
</Location>
Script PUT /cgi/tell.sh
""", files={"a.fnc": "text of a", "b.odd": "text of b", "index.html": "hello\n"})
    s.sh("tell.sh", 'head; echo "$REQUEST_METHOD $SCRIPT_NAME $PATH_INFO $PATH_TRANSLATED $REDIRECT_URL $REDIRECT_HANDLER '
                    '$QUERY_STRING"; cat\n')
    for url, handler in (("/a.fnc", "fancy"), ("/b.odd", "text/x-odd"), ("/ghost/none", "ghost")):
        answer = s.get(url + "?q=1")
        assert answer.body.decode() == "GET /cgi/tell.sh %s %s %s %s q=1\n" % (url, s.server.path("htdocs" + url), url, handler)
    assert s.get("/none.fnc").status == 404
    assert s.post("/a.fnc", "sent").body.decode().startswith("POST /cgi/tell.sh /a.fnc ")
    assert s.post("/a.fnc", "sent").body.endswith(b"\nsent")
    put = s.server.request("PUT", "/new.txt", body="to be kept")
    assert put.status == 200 and put.body.startswith(b"PUT /cgi/tell.sh /new.txt ") and put.body.endswith(b"to be kept")
    assert s.get("/index.html").body == b"hello\n"


# ---- variables and arguments ----

def test_the_environment_is_httpds(cgi):
    """Every variable that a request of httpd's list has, with its value, and no other."""
    s = cgi("ServerAdmin me@example.test\nSetEnv lower.case x\n", env={"PATH": "/usr/bin:/bin", "TZ": "UTC", "SECRET": "evil"})
    s.python("env", ENVIRON)
    c = s.client()
    c.send("POST /cgi/env/extra%20path?a+b%21=1 HTTP/1.1\r\nHost: ex.test:8080\r\nX-Foo: 1\r\nX-Foo: 2\r\nCookie: a\r\n"
           "Content-Length: 3\r\nContent-Type: x/y\r\nAuthorization: Basic x\r\nProxy: evil\r\n\r\nabc")
    got = variables(c.answer().body)
    assert got.pop("SERVER_SOFTWARE").startswith("Muster")
    assert got == {
        "CONTENT_LENGTH": "3", "CONTENT_TYPE": "x/y", "CONTEXT_DOCUMENT_ROOT": s.server.path("cgi/"), "CONTEXT_PREFIX": "/cgi/",
        "DOCUMENT_ROOT": s.server.path("htdocs"), "GATEWAY_INTERFACE": "CGI/1.1", "HTTP_COOKIE": "a", "HTTP_HOST": "ex.test:8080",
        "HTTP_X_FOO": "1, 2", "PATH": "/usr/bin:/bin", "PATH_INFO": "/extra path", "QUERY_STRING": "a+b%21=1",
        "PATH_TRANSLATED": s.server.path("htdocs/extra path"), "REMOTE_ADDR": "127.0.0.1", "REQUEST_METHOD": "POST",
        "REMOTE_PORT": str(c.s.getsockname()[1]), "REQUEST_SCHEME": "http", "REQUEST_URI": "/cgi/env/extra%20path?a+b%21=1",
        "RUN": s.path(), "SCRIPT_FILENAME": s.server.path("cgi/env"), "SCRIPT_NAME": "/cgi/env", "SERVER_ADDR": "127.0.0.1",
        "SERVER_ADMIN": "me@example.test", "SERVER_NAME": "ex.test", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SIGNATURE": "", "TZ": "UTC", "lower_case": "x"}


def test_what_of_it_depends_on_the_request(cgi):
    s = cgi("ServerSignature On\nUseCanonicalName On\nErrorDocument 404 /cgi/env\n")
    s.python("env", ENVIRON)
    plain = variables(s.ask("/cgi/env", "User-Agent: tester\r\n", version="1.0").answer().body)
    assert plain["SERVER_PROTOCOL"] == "HTTP/1.0" and plain["QUERY_STRING"] == "" and plain["REQUEST_METHOD"] == "GET"
    assert plain["SERVER_NAME"] == "localhost" and plain["HTTP_USER_AGENT"] == "tester"
    assert "<address>Muster" in plain["SERVER_SIGNATURE"]
    assert not {"CONTENT_LENGTH", "CONTENT_TYPE", "PATH_INFO", "PATH_TRANSLATED", "HTTP_HOST", "REMOTE_USER", "AUTH_TYPE",
                "HTTPS", "REDIRECT_STATUS", "REDIRECT_URL"} & set(plain)
    led = variables(s.get("/missing?a=1").body)
    assert (led["REDIRECT_STATUS"], led["REDIRECT_URL"], led["REDIRECT_QUERY_STRING"]) == ("404", "/missing", "a=1")
    assert (led["SCRIPT_NAME"], led["REQUEST_URI"]) == ("/cgi/env", "/missing?a=1")


def test_variables_of_the_configuration(cgi):
    s = cgi("""
PassEnv PASSED PASSED_TOO
SetEnv GREETING "hello  world"
SetEnv EMPTY
SetEnv SCRIPT_NAME evil
SetEnv HTTP_X_SET "by the server"
SetEnvIf User-Agent "^tester/(.)" TESTED=$1
<Location "/cgi/less">
    UnsetEnv GREETING PASSED_TOO
    SetEnv EMPTY full
</Location>
<Location "/cgi/open">
    CGIPassAuth On
</Location>
""", env={"PASSED": "from outside", "PASSED_TOO": "1", "KEPT_BACK": "evil"})
    for name in ("env", "less", "open"):
        s.python(name, ENVIRON)
    fields = {"User-Agent": "tester/7", "Authorization": "Basic eDp5"}
    got, less, opened = (variables(s.get("/cgi/" + name, fields).body) for name in ("env", "less", "open"))
    assert (got["PASSED"], got["PASSED_TOO"], got["GREETING"], got["EMPTY"]) == ("from outside", "1", "hello  world", "")
    assert (got["TESTED"], got["SCRIPT_NAME"], got["HTTP_X_SET"]) == ("7", "/cgi/env", "by the server")
    assert "KEPT_BACK" not in got and "HTTP_AUTHORIZATION" not in got
    assert less["EMPTY"] == "full" and less["PASSED"] == "from outside" and not {"GREETING", "PASSED_TOO"} & set(less)
    assert opened["HTTP_AUTHORIZATION"] == "Basic eDp5"


@pytest.mark.parametrize("which,uri", [("original-uri", "/first.fnc?q=%20"), ("current-uri", "/cgi/env/first.fnc")])
def test_cgivar(cgi, which, uri):
    s = cgi("CGIVar REQUEST_URI %s\nAddHandler fancy .fnc\nAction fancy /cgi/env\n" % which, files={"first.fnc": ""})
    s.python("env", ENVIRON)
    got = variables(s.get("/first.fnc?q=%20").body)
    assert got["REQUEST_URI"].split("?q=%20")[0] == uri.split("?")[0] and got["QUERY_STRING"] == "q=%20"


def test_words_of_a_query_are_arguments(cgi):
    """RFC 3875 section 4.4: a query without '=' is a list of words."""
    s = cgi()
    s.c("args", 'say("Content-Type: text/plain\\n\\n");\nfor (int i = 1; i < argc; i++) { say(argv[i]); say("|"); }\nreturn 0;')
    assert s.get("/cgi/args").body == b""
    assert s.get("/cgi/args?one").body == b"one|"
    assert s.get("/cgi/args?one+two%20too+three%21").body == b"one|two too|three!|"
    assert s.get("/cgi/args?one+two=2").body == b""


def test_a_large_environment(cgi):
    """As much as the limits of a request let in reaches the program, beyond what a packet to a helper would hold."""
    s = cgi("LimitRequestFieldSize 65536\nLimitRequestLine 65536\nRequestHeadMemory 2097152\n")
    s.python("env", ENVIRON)
    fields = {"X-Field-%d" % i: "%d-" % i + "v" * 5000 for i in range(40)}
    got = variables(s.get("/cgi/env?q=" + "w" * 20000, fields).body)
    assert {n: v for n, v in got.items() if n.startswith("HTTP_X_FIELD")} == {
        n.upper().replace("-", "_").replace("X_FIELD", "HTTP_X_FIELD"): v for n, v in fields.items()}
    assert got["QUERY_STRING"] == "q=" + "w" * 20000


# ---- the process ----

FDS = r"""
gate("go")
body = os.read(0, 100)
head()
for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        kind, flags = os.fstat(fd).st_mode, fcntl.fcntl(fd, fcntl.F_GETFL)
    except OSError:
        continue  # the one of the listing
    out("%d %s %d %d %s\n" % (fd, os.readlink("/proc/self/fd/%d" % fd).split(":")[0], flags & os.O_ACCMODE,
                              bool(flags & os.O_NONBLOCK), stat.S_ISSOCK(kind)))
out("body %r %r\n" % (body, os.read(0, 1)))
"""


def test_exactly_three_descriptors(cgi):
    """A pipe to read, two to write, all of them blocking; though the server holds files, logs, clients and other scripts."""
    s = cgi('CustomLog "{root}/logs/access.log" "%r"\nScriptLog "{root}/logs/script.log"\n', ports=3,
            files={"index.html": "hello\n", **{"%d.html" % i: "x" * 5000 for i in range(10)}})
    s.python("fds", FDS)
    s.gate("go")
    for i in range(10):
        assert s.ask("/%d.html" % i).answer().status == 200  # and stays connected
    asked = [s.ask("/cgi/fds", "Content-Length: 4\r\n", "POST").send("text") for _ in range(5)]
    s.static_is_served()
    s.open_gate("go")
    for c in asked:
        lines = c.answer().body.decode().splitlines()
        assert lines[-1] == "body b'text' b''"
        assert [re.fullmatch(r"(\d) (pipe|socket) [012] (0) (True|False)", line)[1] for line in lines[:-1]] == ["0", "1", "2"]


def test_a_request_without_a_body_has_an_empty_standard_input(cgi):
    s = cgi()
    s.sh("cat", "head; cat; echo end\n")
    c = s.client()
    for _ in range(3):
        assert c.get("/cgi/cat").answer().body == b"end\n"
    assert c.get("/cgi/cat", "Content-Length: 0\r\n", "POST").answer().body == b"end\n"


def test_signals_are_at_their_defaults(cgi):
    s = cgi()
    s.c("signals", r"""
    sigset_t blocked;
    char line[100];
    say("Content-Type: text/plain\n\n");
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int i = 1; i < 65; i++) {
        struct sigaction a;
        if (sigaction(i, NULL, &a) == 0 && (a.sa_handler != SIG_DFL || sigismember(&blocked, i))) {
            snprintf(line, sizeof line, "signal %d\n", i);
            say(line);
        }
    }
    return 0;""")
    s.sh("status", "head; grep -E '^Sig(Blk|Ign|Pnd)' /proc/self/status\n")
    assert s.get("/cgi/signals").body == b""
    lines = s.get("/cgi/status").body.decode().split("\n")
    assert sorted(line.split(":")[0] for line in lines if line) == ["SigBlk", "SigIgn", "SigPnd"]
    assert all(int(line.split()[1], 16) == 0 for line in lines if line), lines


def test_its_folder_its_group_and_its_user(cgi):
    s = cgi(env={"PWD": "/nowhere"})
    s.python("process", 'head(); out("%s\\n%d %d %d\\n%03o\\n%d %d %s\\n" % (os.getcwd(), os.getpid() == os.getpgrp(), '
                        'os.getpgid(os.getppid()) == os.getpgrp(), os.nice(0), os.umask(0), os.geteuid(), os.getegid(), '
                        'sorted(os.getgroups())))\n', "cgi/sub folder")
    where, group, umask, ids = s.get("/cgi/sub%20folder/process/info").body.decode().splitlines()
    assert where == s.server.path("cgi/sub folder")
    assert group == "1 0 %d" % os.nice(0) and umask == "022"
    user = harness.unprivileged()
    if user:
        assert ids == "%d %d %s" % (user.pw_uid, user.pw_gid, sorted(os.getgrouplist(user.pw_name, user.pw_gid)))
