"""What keeps applications and their server safe from clients, and the server safe from applications.

testapp is run by CGI, by FastCGI over TCP and in a pool of the server's, side by side; PHP by every way there is.
"""
import contextlib
import os
import re
import shutil
import socket

import pytest

import applications
import rawclient
from applications import TESTAPP, query
from harness import unprivileged, wait_until

WAYS = ("cgi", "fcgi", "pool")
# Variables that differ from one request to the next, by nature.
CHANGING = {"REMOTE_PORT", "QUERY_STRING", "REQUEST_URI", "CONTENT_LENGTH", "CONTENT_TYPE", "REQUEST_METHOD", "UNIQUE_ID"}
CONFIG = """
ScriptAlias "/cgi/" "{root}/cgi/"
<Directory "{root}/cgi">
    Require all granted
</Directory>
ProxyPass "/fcgi/" "%(fcgi)s/"
%(pool)sProxyPass "/pool/" "pool:testapp"
SetEnv MARKS %(marks)s
"""


class Apps:
    """A server with testapp behind /cgi/app, /fcgi/app and /pool/app."""

    def __init__(self, make, beside, config="", **kwargs):
        self.app = beside(applications.FcgiApp("tcp", processes=2))
        self.server = make(CONFIG % {"fcgi": self.app.url, "marks": self.app.marks,
                                     "pool": applications.pool("testapp", "%s -m %s" % (TESTAPP, self.app.marks))} + config,
                           **kwargs)
        os.mkdir(self.server.path("cgi"))
        shutil.copy(TESTAPP, self.server.path("cgi/app"))
        self.server.start()

    def get(self, way, *commands, headers=None, **more):
        return self.server.get("/%s/app?%s" % (way, query(*commands, **more)), headers=headers)

    def raw(self, request):
        """One request, byte by byte as written here; all that comes back until the server closes."""
        return self.server.raw(request if isinstance(request, bytes) else request.encode("latin-1"))

    def ran(self):
        """Words that testapp has left since the last time this was asked."""
        words = self.app.words()
        open(self.app.marks, "w").close()
        return words


@pytest.fixture
def apps(make, beside):
    return lambda config="", **kwargs: Apps(make, beside, config, **kwargs)


def variables(body):
    """NAME -> value of what `env` printed; a name that is there twice is an error."""
    found = {}
    for line in body.decode("latin-1").splitlines():
        name, _, value = line.partition("=")
        assert name not in found, "%s is set twice" % name
        found[name] = value
    return found


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


# ---- variables ----

# Each is sent with the value "evil". Names with '_' look like another's variable and are dropped.
HOSTILE = (
    "Proxy", "Script-Filename", "SCRIPT_FILENAME", "Script-Name", "Path-Info", "PATH_INFO", "PATH_TRANSLATED",
    "Content_Type", "Content_Length", "CONTENT_LENGTH", "X_Foo", "X__Foo", "_", "Remote-User", "REMOTE_USER", "Remote-Addr",
    "REMOTE_ADDR", "HTTP_HOST", "Http-Host", "HTTP_PROXY", "Http-Proxy", "HTTP_COOKIE", "Redirect-Status", "REDIRECT_STATUS",
    "PHP-Value", "PHP_VALUE", "PHP_ADMIN_VALUE", "PHP-Admin-Value", "Document-Root", "DOCUMENT_ROOT", "Auth-Type",
    "Gateway-Interface", "Ld-Preload", "LD_PRELOAD", "Path", "PATH", "Server-Name", "SERVER_PORT", "Https", "HTTPS",
    "MARKS", "Marks", "Request-Method", "QUERY_STRING", "FCGI_ROLE", "Orig-Script-Filename", "X!Foo", "X.Foo", "X'Foo")


@pytest.mark.parametrize("way", WAYS)
def test_no_header_field_sets_a_variable_of_the_server(apps, way):
    a = apps()
    before = variables(a.get(way, "env").body)
    assert before["REQUEST_METHOD"] == "GET" and before["GATEWAY_INTERFACE"] == "CGI/1.1"
    after = variables(a.get(way, "env", headers={name: "evil" for name in HOSTILE}).body)

    ours = {n: v for n, v in after.items() if not n.startswith("HTTP_") and n not in CHANGING}
    assert ours == {n: v for n, v in before.items() if not n.startswith("HTTP_") and n not in CHANGING}
    assert "CONTENT_LENGTH" not in after or after["CONTENT_LENGTH"] in ("", "0")
    assert after.get("CONTENT_TYPE", "") == ""
    allowed = {"HTTP_" + n.upper().replace("-", "_") for n in HOSTILE if re.fullmatch(r"[A-Za-z0-9-]+", n)} - {"HTTP_PROXY"}
    assert {n for n, v in after.items() if "evil" in v} == allowed
    assert after["HTTP_HOST"] == before["HTTP_HOST"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fields", ["X-Foo: good\r\nX_Foo: evil\r\n", "X_Foo: evil\r\nX-Foo: good\r\n"])
def test_an_underscore_does_not_replace_or_join_a_field(apps, way, fields):
    a = apps()
    with rawclient.Client(a.server) as c:
        body = c.get("/%s/app?env" % way, fields).answer().body
    assert variables(body)["HTTP_X_FOO"] == "good"


@pytest.mark.parametrize("way", WAYS)
def test_passwords_stay_with_the_server(apps, way):
    """Authorization reaches an application only where CGIPassAuth says so."""
    fields = {"Authorization": "Basic c2VjcmV0", "Proxy-Authorization": "Basic c2VjcmV0"}
    a = apps('<Location "/%s/open">\nCGIPassAuth On\n</Location>' % way)
    assert b"c2VjcmV0" not in a.get(way, "env", headers=fields).body
    if way == "cgi":
        shutil.copy(TESTAPP, a.server.path("cgi/open"))
    got = variables(a.server.get("/%s/open?env" % way, headers=fields).body)
    named = {n for n, v in got.items() if "c2VjcmV0" in v}
    assert "HTTP_AUTHORIZATION" in named and named <= {"HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("head,status", [
    ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    ("Content-Length: 5, 6\r\n", 400),
    ("Content-Length: +5\r\n", 400),
    ("Content-Length: -5\r\n", 400),
    ("Content-Length: 0x5\r\n", 400),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    ("Transfer-Encoding: chunked, identity\r\n", None),
    ("X-A: b\0c\r\n", 400),
    ("X A: b\r\n", 400),
    ("X-A : b\r\n", 400),
    ("Host: other\r\n", 400),
    (": b\r\n", 400),
    ("X-A: b\r\n folded: c\r\n", None),
    ("X-A: b\rSCRIPT_FILENAME: c\r\n", 400),
])
def test_a_request_that_could_be_read_in_two_ways_never_runs(apps, way, head, status):
    a = apps()
    answer = a.raw("POST /%s/app?mark=ran&sum HTTP/1.1\r\nHost: localhost\r\n%s\r\n5\r\nhello\r\n0\r\n\r\n" % (way, head))
    assert status_of(answer) == status if status else status_of(answer) in (400, 501), answer
    assert a.ran() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_chunked_body_and_what_is_said_of_its_length(apps, way):
    """CONTENT_LENGTH is what was counted, or nothing; the bytes are the body's, without the framing."""
    a = apps()
    answer = a.raw("POST /%s/app?var=CONTENT_LENGTH&body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n" % way)
    assert status_of(answer) == 200
    text = answer.split(b"\r\n\r\n", 1)[1]
    assert b"hello!" in text and (b"6\n" in text or b"(unset)\n" in text), text


# ---- paths ----

CLIMBING = (
    "/%s/../outside/secret", "/%s/..//outside/secret", "/%s/%%2e%%2e/outside/secret", "/%s/%%2E%%2e/outside/secret",
    "/%s/..%%2foutside/secret", "/%s/..%%2Foutside%%2Fsecret", "/%s/%%2e%%2e%%2foutside%%2fsecret", "/%s/..%%5coutside%%5csecret",
    "/%s/..\\outside\\secret", "/%s/%%252e%%252e/outside/secret", "/%s/%%252e%%252e%%252foutside/secret",
    "/%s/%%c0%%ae%%c0%%ae/outside/secret", "/%s/..%%c0%%afoutside/secret", "/%s/..;/outside/secret", "/%s/.%%2e/outside/secret",
    "/%s/./../outside/secret", "/%s//../../outside/secret", "/%s/../../../../../../../../..%(root)s/outside/secret",
    "/%s/app/../../outside/secret", "/%s/app/%%2e%%2e/%%2e%%2e/outside/secret", "/%s/secret%%00", "/%s/../outside/secret%%00.txt",
    "/%s/..%%00/outside/secret", "//%s/../outside/secret", "/%s%%2f..%%2foutside/secret", "/../%s/../outside/secret",
    "/%s/%%%%32%%65%%%%32%%65/outside/secret", "/%s/%%u002e%%u002e/outside/secret", "/%s/..%%ef%%bc%%8foutside/secret",
    "/%s/..%%09/outside/secret", "/%s/ ../outside/secret", "/%s/%(root)s/outside/secret", "/%s/link/secret")


@pytest.mark.parametrize("way", WAYS + ("files",))
def test_no_path_leads_outside(apps, way):
    """Neither is a file outside sent, nor a program outside run, nor is its path given to an application."""
    a = apps('Alias "/files/" "{root}/files/"\n<Directory "{root}/files">\nRequire all granted\n</Directory>\n'
             '<Directory "{root}">\nOptions -FollowSymLinks\n</Directory>\n')
    s = a.server
    s.write("files/plain", "plain")
    s.write("outside/secret", "#!/bin/sh\necho Content-Type: text/plain\necho\necho top secret\n")
    os.chmod(s.path("outside/secret"), 0o755)
    for folder in ("cgi", "files"):
        os.symlink(s.path("outside"), s.path(folder, "link"))
    with open("/etc/hostname") as f:
        hostname = f.read()
    for probe in CLIMBING:
        # The named root starts with a slash of its own.
        path = probe.replace("%(root)s", s.root) % ((way,) if "%s" in probe else ())
        answer = a.raw("GET %s?mark=ran&env HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
        assert b"top secret" not in answer, path
        assert hostname not in answer.decode("latin-1"), path
        if status_of(answer) == 200:
            # Only an application that owns all addresses below its prefix may be asked at all, and not with this.
            assert way in ("fcgi", "pool"), "%s: %r" % (path, answer)
            check_paths(answer.split(b"\r\n\r\n", 1)[1], path)
        else:
            assert status_of(answer) in (400, 403, 404), "%s: %r" % (path, answer[:200])
            assert a.ran() == [], path
        a.ran()


def check_paths(body, path):
    """The paths among the variables of an `env` answer climb nowhere; REQUEST_URI is as the client wrote it."""
    got = variables(re.sub(rb"^[0-9a-f]+\r\n|\r\n[0-9a-f]+\r\n", b"", body))
    for name in ("SCRIPT_NAME", "SCRIPT_FILENAME", "PATH_INFO", "PATH_TRANSLATED"):
        assert ".." not in got.get(name, "").split("/"), "%s: %s=%s" % (path, name, got[name])


@pytest.mark.parametrize("path", ["/cgi/app%00", "/cgi/app%00.txt", "/cgi/app/x%00y", "/%00", "/fcgi/app%00", "/pool/app%00x"])
def test_a_nul_is_refused(apps, path):
    a = apps()
    answer = a.raw("GET %s?mark=ran HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
    assert status_of(answer) in (400, 404)
    assert a.ran() == []


def test_path_info_is_decoded_once_and_stays_within(apps):
    a = apps()
    got = variables(a.server.get("/cgi/app/a%20b/%2525?env").body)
    assert got["PATH_INFO"] == "/a b/%25" and got["SCRIPT_NAME"] == "/cgi/app"
    assert got["PATH_TRANSLATED"] == a.server.path("htdocs") + "/a b/%25"
    assert got["SCRIPT_FILENAME"] == a.server.path("cgi/app")
    assert got["REQUEST_URI"] == "/cgi/app/a%20b/%2525?env"
    # An encoded slash is refused as long as AllowEncodedSlashes does not say otherwise.
    assert a.server.get("/cgi/app/a%2fb?mark=ran").status == 404
    assert a.ran() == []


# ---- PHP: what is a script and what is not ----

EVIL = "GIF89a<?php file_put_contents('%s', 'proof'); echo 'evil ' . 'ran'; ?>"


@pytest.mark.parametrize("way", applications.php_ways())
def test_an_upload_is_never_run(make, beside, way):
    php, app = applications.start_php(beside, way)
    s = make(php, files={"hello.php": "<?php echo 'hello ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '-';"},
             env=applications.PHP_ENV)
    proof = s.path("htdocs/upload/proof")
    for name in ("evil.jpg", "evil.php.jpg", "evil.phpx", "evil.txt", ".php.gif", "php"):
        s.write("htdocs/upload/" + name, EVIL % proof)
    os.chmod(s.path("htdocs/upload"), 0o777)
    s.start()
    assert s.get("/hello.php").body == b"hello /hello.php -"
    assert s.get("/hello.php/more/of.it").body == b"hello /hello.php /more/of.it"
    for name in ("evil.jpg", "evil.php.jpg", "evil.phpx", "evil.txt", ".php.gif", "php"):
        for tail in ("", "/x.php", "/.php", "/a/b.php", "%00.php", "%0a.php", ";.php", "%20.php", "/%2e%2e/x.php", "?x.php",
                     "%3f.php", "%23.php", "%2fx.php", "//x.php", "/x.php/", "\\x.php"):
            answer = s.raw(("GET /upload/%s%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % (name, tail)).encode())
            assert b"evil ran" not in answer, name + tail
            assert not os.path.exists(proof), name + tail


@pytest.mark.parametrize("way", applications.php_ways())
def test_a_php_script_is_not_there_in_source(make, beside, way):
    """However it is asked for, a script's text is not sent; and what is no script of that name is a 404."""
    php, app = applications.start_php(beside, way)
    s = make(php, files={"a.php": "<?php /* SECRET */ echo 'ran';"}, env=applications.PHP_ENV).start()
    for tail in ("", "/", "/x", "?x", "?-s", "?-d+allow_url_include%3d1", "%20", ".", "%2e", "::$DATA", "%00", "~", "/.", "//", "%5c", ";", ";x"):
        for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "BREW"):
            answer = s.raw(("%s /a.php%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nRange: bytes=0-9\r\n"
                            "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n" % (method, tail)).encode())
            assert b"SECRET" not in answer and b"<?php" not in answer, (method, tail, answer)


# ---- source ----

SOURCE = "#!/bin/sh\n# SECRET\necho Content-Type: text/plain\necho\necho ran\n"
UNKNOWN = {
    "a name": ("", 'SetHandler "no-such-handler"'),
    "by extension": ("", "AddHandler no-such-handler .cgi"),
    "a PHP that is not there": ("", "SetHandler application/x-httpd-php"),
    "a PHP that is not there, by type": ("", "AddType application/x-httpd-php .cgi"),
    "CGI switched off": ("LoadModule authz_core_module modules/mod_authz_core.so\n"
                         "LoadModule mime_module modules/mod_mime.so\nLoadModule dir_module modules/mod_dir.so\n",
                         "AddHandler cgi-script .cgi\nOptions +ExecCGI"),
    "proxy switched off": ("LoadModule authz_core_module modules/mod_authz_core.so\n",
                           'SetHandler "proxy:unix:/run/none.sock|fcgi://localhost/"'),
    "pool switched off": ("LoadModule authz_core_module modules/mod_authz_core.so\n", 'SetHandler "pool:none"'),
    "a scheme nobody has": ("", 'SetHandler "proxy:gopher://localhost/"'),
    "an action of nobody": ("", 'Action nothing "/cgi/none"\nSetHandler nothing-else'),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_source_is_not_served_when_its_handler_is_unknown(make, case):
    load, inside = UNKNOWN[case]
    s = make(load + '<Directory "{root}/htdocs/bin">\n%s\n</Directory>\n' % inside,
             files={"bin/a.cgi": SOURCE, "index.html": "home"})
    os.chmod(s.path("htdocs/bin/a.cgi"), 0o755)
    if s.run("-t").returncode != 0:  # an error at start is an answer as well
        return
    s.start()
    tag = '"%x-x"' % os.stat(s.path("htdocs/bin/a.cgi")).st_size
    for method in ("GET", "POST", "HEAD", "PUT", "BREW"):
        for fields in ("", "Range: bytes=0-20\r\n", "If-None-Match: *\r\n", "If-Match: %s\r\n" % tag,
                       "If-Modified-Since: Sun, 01 Jan 2040 00:00:00 GMT\r\n", "Accept: application/x-anything\r\n"):
            for path in ("/bin/a.cgi", "/bin/a.cgi/info", "/bin/a.cgi?x", "/bin//a.cgi"):
                answer = s.raw(("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%sContent-Length: 0\r\n\r\n" %
                                (method, path, fields)).encode())
                assert b"SECRET" not in answer and b"ran\n" not in answer, answer
                if method == "GET":
                    assert status_of(answer) in ((500, 404) if "info" in path else (500,)), answer
    assert s.get("/index.html").body == b"home"


def test_source_is_not_served_as_an_index_or_an_error_page(make):
    s = make("""
DirectoryIndex a.cgi
ErrorDocument 404 /bin/a.cgi
<Directory "{root}/htdocs/bin">
    AddHandler no-such-handler .cgi
</Directory>
""", files={"bin/a.cgi": SOURCE}).start()
    assert s.get("/bin/").status == 500 and b"SECRET" not in s.get("/bin/").body
    assert s.get("/none").status in (404, 500) and b"SECRET" not in s.get("/none").body


@pytest.mark.parametrize("text,mode,status", [
    (SOURCE, 0o644, (403, 500)),
    (SOURCE.replace("/bin/sh", "/no/such/interpreter"), 0o755, (500,)),
    (SOURCE.replace("#!/bin/sh", "# no interpreter"), 0o755, (500,)),
    ("", 0o755, (500,)),
])
def test_a_script_that_cannot_be_run_is_not_served(make, text, mode, status):
    s = make('ScriptAlias "/cgi/" "{root}/cgi/"\n<Directory "{root}/cgi">\nRequire all granted\n</Directory>\n')
    s.write("cgi/a", text)
    os.chmod(s.path("cgi/a"), mode)
    s.start()
    for method in ("GET", "POST"):
        answer = s.request(method, "/cgi/a", headers={"Range": "bytes=0-9"})
        assert answer.status in status and b"SECRET" not in answer.body


@pytest.mark.parametrize("config", ["AddHandler cgi-script .cgi", "SetHandler cgi-script",
                                    "Options +ExecCGI\nAddHandler cgi-script .cgi\nOptions -ExecCGI"])
def test_without_leave_to_run_nothing_runs_and_nothing_is_shown(make, config):
    s = make('<Directory "{root}/htdocs/bin">\n%s\n</Directory>\n' % config, files={"bin/a.cgi": SOURCE})
    os.chmod(s.path("htdocs/bin/a.cgi"), 0o755)
    s.start()
    answer = s.get("/bin/a.cgi")
    assert answer.status == 403 and b"SECRET" not in answer.body and answer.body != b"ran\n"


# ---- what applications answer ----

BAD_HEADS = {
    "a bare CR": "Content-Type: text/plain\n{X-A: b\rSet-Cookie: evil=1}\n\nbody",
    "a NUL": "Content-Type: text/plain\nX-A: b\0evil\n\nbody",
    "a name with a blank": "Content-Type: text/plain\nX evil: b\n\nbody",
    "a blank before the colon": "Content-Type: text/plain\nX-Evil : b\n\nbody",
    "no colon": "Content-Type: text/plain\nevil\n\nbody",
    "no name": "Content-Type: text/plain\n: evil\n\nbody",
    "a folded line": "Content-Type: text/plain\nX-A: b\n evil: c\n\nbody",
    "an HTTP head of its own": "HTTP/1.1 200 OK\r\nX-Evil: b\r\n\r\nbody",
    "a status of letters": "Status: evil\n\nbody",
    "a status of two digits": "Status: 20\n\nbody",
    "an interim status": "Status: 100 Continue\n\nbody",
    "a status beyond": "Status: 1000 evil\n\nbody",
    "a control byte": "Content-Type: text/plain\nX-A: b\x07evil\n\nbody",
    "no head at all": "body without a head, evil",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", BAD_HEADS)
def test_a_bad_head_is_no_answer(apps, way, case):
    """Nothing of it reaches the client; the next request on the connection is answered as ever."""
    a = apps()
    head = BAD_HEADS[case].replace("{", "").replace("}", "")
    with rawclient.Client(a.server) as c:
        answer = c.get("/%s/app?%s" % (way, query(raw=head))).answer()
        assert answer.status in (500, 502), answer
        assert b"evil" not in answer.body and not any("evil" in (n + v).lower() for n, v in answer.headers)
        if answer["Connection"] != "close":
            assert c.get("/").answer().body == b"hello\n"
    wait_until("the log says why", lambda: re.search(r":error\] .*\[client 127\.0\.0\.1:\d+\] MU\d+: ", a.server.error_log()))


@pytest.mark.parametrize("way", WAYS)
def test_a_head_without_end_is_bounded(apps, way):
    a = apps()
    head = "Content-Type: text/plain\n" + "".join("X-%d: %s\n" % (i, "v" * 200) for i in range(20))
    assert a.get(way, raw=head + "\nshort enough").status in (200,)
    assert a.get(way, raw="X-A: ", stream=100_000_000).status in (500, 502)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fields,n", [
    ("Transfer-Encoding: chunked", 5), ("Content-Length: 5\nTransfer-Encoding: chunked", 5), ("Connection: close", 5),
    ("Content-Length: 5", 5000), ("Content-Length: 5\nContent-Length: 5000", 5000), ("Keep-Alive: x", 5),
    ("Status: 204 No Content\nContent-Length: 5000", 5000), ("Status: 304 Not Modified\nContent-Length: 5000", 5000),
    ("Content-Length: -1", 5), ("Content-Length: 5000, 5000", 5000), ("Upgrade: evil\nConnection: upgrade", 5)])
def test_framing_is_the_servers_own(apps, way, fields, n):
    """Whatever an application says of lengths and connections, the second answer is the second answer."""
    a = apps()
    with rawclient.Client(a.server) as c:
        path = "/%s/app?%s" % (way, query(raw="Content-Type: text/plain\n%s\n\n" % fields, text="x" * 5 if n == 5 else "",
                                          stream=0 if n == 5 else n))
        answer = c.get(path).answer()
        assert answer.status in (200, 204, 304, 500, 502), answer
        if answer["Connection"] == "close":
            assert c.is_closed()
        else:
            second = c.get("/").answer()
            assert second.status == 200 and second.body == b"hello\n"


@pytest.mark.parametrize("way", WAYS)
def test_fewer_bytes_than_announced_never_look_complete(apps, way):
    a = apps()
    with rawclient.Client(a.server) as c:
        c.get("/%s/app?%s" % (way, query(raw="Content-Type: text/plain\nContent-Length: 5000\n\n", text="short")))
        answer = c.head()
        if answer.status == 200:
            assert answer["Content-Length"] == "5000" and c.rest() == b"short"
        else:
            assert answer.status in (500, 502)


# ---- descriptors ----

def descriptors(body):
    return {int(line.split(" ", 1)[0]): line.split(" ", 1)[1] for line in body.decode().splitlines() if line}


@pytest.mark.parametrize("way", ["cgi", "pool"])
def test_no_descriptor_leaks_into_an_application(apps, way):
    """While the server holds listeners, clients, logs, cached files and other applications' pipes."""
    a = apps('CustomLog "{root}/logs/access.log" "%h %r"\nErrorLog "|$/bin/cat >> {root}/logs/piped.log"\n', ports=3,
             files={"%d.html" % i: "x" * 5000 for i in range(20)} | {"index.html": "hello\n"}, log_level="warn")
    clients = [rawclient.Client(a.server, port) for port in a.server.ports for _ in range(5)]
    for i, c in enumerate(clients):
        assert c.get("/%d.html" % (i % 20)).answer().status == 200
    waiting = rawclient.Client(a.server).get("/%s/app?%s" % (way, query(mark="waiting", **{"await": a.server.path("go")})))
    wait_until("another one runs", lambda: "waiting" in a.app.words())
    found = descriptors(a.get(way, "fds").body)
    open(a.server.path("go"), "w").close()
    for c in clients + [waiting]:
        c.s.close()
    if way == "cgi":
        assert sorted(found) == [0, 1, 2], found
        assert all(re.match(r"(pipe|socket):|/dev/null", target) for target in found.values()), found
    else:
        # Its own listener, two outputs, and the connection of this request.
        assert sorted(found) == [0, 1, 2, 3], found
        assert found[0].startswith("socket:") and found[3].startswith("socket:"), found
        assert all(re.match(r"pipe:|socket:|/dev/null", found[i]) for i in (1, 2)), found


@pytest.mark.parametrize("way", ["cgi", "pool"])
def test_signals_and_environment_are_clean(apps, way):
    a = apps()
    text = a.get(way, "process").body.decode()
    blocked = int(re.search(r"SigBlk:\s*(\w+)", text)[1], 16)
    # testapp itself holds TERM and USR1 back while it serves by FastCGI.
    assert blocked & ~(0 if way == "cgi" else 1 << 14 | 1 << 9) == 0, text
    assert int(re.search(r"SigIgn:\s*(\w+)", text)[1], 16) == 0, text
    own = variables(a.get(way, "processenv").body)
    if way == "pool":
        assert set(own) <= {"PATH", "USER", "HOME", "LOGNAME", "SHELL", "FCGI_ROLE", "POOL", "PWD", "LANG", "TMPDIR"}, own
    assert "MUSTER" not in own and "MU_MPM" not in own, "the server's own environment"


@pytest.mark.skipif(not unprivileged(), reason="only root can give children another user")
@pytest.mark.parametrize("way", ["cgi", "pool"])
def test_an_application_has_no_rights_of_the_supervisor(apps, way):
    ids = apps().get(way, "ids").body.decode()
    user = unprivileged() if way == "cgi" else applications.pool_user()
    assert ids.startswith("uid=%d gid=%d " % (user.pw_uid, user.pw_gid)), ids
    assert "groups=0" not in ids and ",0" not in ids


def pids_of_testapp(server):
    found = []
    for p in server.family():
        with contextlib.suppress(OSError), open("/proc/%d/cmdline" % p.pid, "rb") as f:
            found += [p.pid] if b"testapp" in f.read() else []
    return found


def test_the_pool_listens_where_no_client_can_reach_it(apps):
    """Its sockets are no file that another user may open, and no port."""
    a = apps()
    pids = wait_until("the pool runs", lambda: pids_of_testapp(a.server))
    with open("/proc/net/unix") as f:
        by_inode = {fields[6]: fields for fields in (line.split() for line in f) if len(fields) > 6}
    for pid in pids:
        inode = re.search(r"socket:\[(\d+)\]", os.readlink("/proc/%d/fd/0" % pid))[1]
        assert inode in by_inode, "descriptor 0 is a Unix socket"
        path = by_inode[inode][7] if len(by_inode[inode]) > 7 else ""
        if path and not path.startswith("@"):
            folder_mode = os.stat(os.path.dirname(path)).st_mode & 0o007
            assert os.stat(path).st_mode & 0o007 == 0 or folder_mode == 0, path
        elif path.startswith("@"):
            with socket.socket(socket.AF_UNIX) as s, pytest.raises(OSError):
                s.connect("\0" + path[1:])
