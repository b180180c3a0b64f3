"""The FastCGI client: what an application is told. httpd is asked with the same lines of configuration, and must have told the same."""
import re

import pytest

import applications
from fcgi_backend import Backend
from httpd import BASICS, Httpd, needs_httpd
from rawclient import Client

# What leads to the application, by many ways; {url} is its address.
CONFIG = """
ProxyPass "/p/" "{url}/"
ProxyPass "/base" "{url}/srv/www"
ProxyPassMatch "^/m/(.*\\.php)(/.*)?$" "{url}/srv/www/$1$2"
ProxyPassMatch "^/n/.*\\.php$" "{url}/srv"
<Location "/loc/">
    ProxyPass "{url}/l/"
</Location>
<FilesMatch "\\.app$">
    SetHandler "proxy:{url}"
</FilesMatch>
<FilesMatch "\\.slash$">
    SetHandler "proxy:{url}/"
</FilesMatch>
SetEnvIf Request_URI "^/pi/first/" proxy-fcgi-pathinfo=first-dot
SetEnvIf Request_URI "^/pi/last/" proxy-fcgi-pathinfo=last-dot
SetEnvIf Request_URI "^/pi/full/" proxy-fcgi-pathinfo=full
SetEnvIf Request_URI "^/pi/un/" proxy-fcgi-pathinfo=unescape
SetEnvIf Request_URI "^/pi/some/" proxy-fcgi-pathinfo=1
ProxyPass "/pi/" "{url}{docs}/"
"""
PATHS = ("/p/", "/p/x", "/p/x/y.php/info", "/p/a%20b/c%3fd", "/p/%e2%82%ac;x=1,2", "/p//x", "/p/x/", "/base", "/base/x/y",
         "/m/x.php", "/m/sub/x.php/more/info", "/n/a/x.php", "/loc/x", "/file.app", "/file.app/path/info", "/file.app/a%20b", "/sub/file.app",
         "/file.slash", "/file.slash/info", "/pi/first/a.php/b.php/c", "/pi/last/a.php/b.php/c", "/pi/full/pi/file.app/b/c",
         "/pi/full/pi/a%20b.app/b%20c", "/pi/full/pi/file.app", "/pi/full/none.app/b/c", "/pi/un/a%20b/c", "/pi/some/a%20b.php/c")
NAMES = ("SCRIPT_NAME", "SCRIPT_FILENAME", "PATH_INFO", "PATH_TRANSLATED", "REQUEST_URI", "QUERY_STRING", "DOCUMENT_ROOT", "CONTEXT_PREFIX",
         "CONTEXT_DOCUMENT_ROOT", "REQUEST_METHOD", "REQUEST_SCHEME", "SERVER_PROTOCOL", "SERVER_NAME", "SERVER_ADDR", "GATEWAY_INTERFACE",
         "REMOTE_ADDR", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_HOST", "HTTP_X_ASKED", "OWN", "FCGI_ROLE", "proxy-fcgi-pathinfo", "SERVER_ADMIN",
         "AUTH_TYPE", "REMOTE_USER", "HTTPS", "NAME", "GROUP", "JOINED", "LENGTHY", "MATCHED", "EMPTY")


def variables(text):
    found = {}
    for line in text.decode("latin-1").splitlines():
        name, _, value = line.partition("=")
        assert name not in found, "%s is set twice" % name
        found[name] = value
    return found


class Both:
    """The server and httpd, with the same documents, lines and application."""

    def __init__(self, make, beside, config, files):
        self.app = beside(applications.FcgiApp("tcp", processes=2))
        self.server = make(files=files)
        config = config.replace("{url}", self.app.url).replace("{docs}", self.server.path("htdocs"))
        self.server.configure(config)
        self.server.start()
        self.httpd = beside(Httpd(self.server, config, BASICS + ("setenvif", "proxy", "proxy_fcgi")))

    def ask(self, path, port, method="GET"):
        answer = self.server.request(method, path + "?read=9&env", {"Host": "localhost", "X-Asked": "yes", "Content-Type": "text/x"},
                                     "body" if method == "POST" else None, port=port)
        assert answer.status == 200, (path, port == self.server.port, answer)
        return variables(answer.body)

    def plain(self, told):
        """Without what is no difference: a file's name has httpd's address of the backend in front of it even where a handler leads
        there, which applications strip; the case of %XX; the header field that the client of the test makes itself."""
        if self.server.root in told["SCRIPT_FILENAME"] and not told["REQUEST_URI"].startswith("/pi/"):
            told["SCRIPT_FILENAME"] = re.sub("^/+", "/", told["SCRIPT_FILENAME"].removeprefix("proxy:" + self.app.url))
        return {name: re.sub("%[0-9A-F]{2}", lambda m: m[0].lower(), value) for name, value in told.items()}

    def differences(self, paths, method="GET"):
        """{path: {name: (the server's, httpd's)}} where they differ."""
        found = {}
        for path in paths:
            ours, theirs = (self.plain(self.ask(path, port, method)) for port in (self.server.port, self.httpd.port))
            differing = {name: (ours.get(name), theirs.get(name)) for name in NAMES if ours.get(name) != theirs.get(name)}
            missing = {name: (None, value) for name, value in theirs.items() if name not in ours}
            if differing or missing:
                found[path] = {**differing, **missing}
        return found


FILES = {"index.html": "hello\n", "file.app": "x", "file.slash": "x", "sub/file.app": "x", "pi/file.app": "x", "full/pi/file.app": "x", "full/pi/a b.app": "x"}


@pytest.fixture
def both(make, beside):
    return lambda config: Both(make, beside, config, FILES)


@needs_httpd
@pytest.mark.parametrize("backend", ["", "ProxyFCGIBackendType GENERIC\n", "ProxyFCGIBackendType FPM\n"])
def test_names_and_paths_as_httpd_tells_them(both, backend):
    assert both(backend + CONFIG).differences(PATHS) == {}


SET_ENV_IF = """
SetEnv OWN "of the server"
ProxyPass "/p/" "{url}/"
<Location "/p/a">
    ProxyFCGISetEnvIf "true" NAME "a value"
    ProxyFCGISetEnvIf "reqenv('SCRIPT_NAME') =~ m#/p/(.)(.*)#" GROUP "first $1, then $2"
    ProxyFCGISetEnvIf "true" JOINED "%{reqenv:OWN} and %{HTTP_HOST} by %{REQUEST_METHOD} for %{req:X-Asked}"
    ProxyFCGISetEnvIf "reqenv('REQUEST_METHOD') == 'GET'" !HTTP_X_ASKED
    ProxyFCGISetEnvIf "%{REQUEST_METHOD} == 'POST' && %{QUERY_STRING} =~ /env$/" MATCHED "a post"
    ProxyFCGISetEnvIf "!(%{REQUEST_METHOD} == 'POST') || false" MATCHED "no post"
    ProxyFCGISetEnvIf "%{REQUEST_URI} =~ /NOWHERE/" LENGTHY "never"
    ProxyFCGISetEnvIf "-n '%{HTTP_HOST}' && -z '%{HTTP_COOKIE}'" EMPTY
    ProxyFCGISetEnvIf "3 -lt 20" SCRIPT_FILENAME "/other%{reqenv:SCRIPT_NAME}"
    ProxyFCGISetEnvIf "true" DOCUMENT_ROOT "/elsewhere"
    ProxyFCGISetEnvIf "true" HTTPS
</Location>
<Location "/p/b">
    ProxyFCGISetEnvIf "true" NAME "another"
    ProxyFCGISetEnvIf "reqenv('NAME') =~ /^an/" MATCHED "in order"
    ProxyFCGISetEnvIf "true" !OWN
    ProxyFCGISetEnvIf "true" !NOT_THERE
</Location>
ProxyFCGISetEnvIf "reqenv('SCRIPT_NAME') =~ m#/inner#" NAME "of the server"
"""


@needs_httpd
def test_setenvif_as_httpd_does_it(both):
    """Set, replaced, removed, by conditions, with groups, in order, inherited."""
    b = both(SET_ENV_IF)
    paths = ("/p/a", "/p/a/inner", "/p/b", "/p/c/inner", "/p/c")
    assert b.differences(paths) == {}
    assert b.differences(paths, "POST") == {}
    told = b.ask("/p/a", b.server.port)
    assert told["NAME"] == "a value" and told["JOINED"] == "of the server and localhost by GET for yes" and told["MATCHED"] == "no post"
    assert "HTTP_X_ASKED" not in told and told["SCRIPT_FILENAME"].startswith("/other/") and told["EMPTY"] == ""
    assert b.ask("/p/c/inner", b.server.port)["NAME"] == "of the server"


def test_nocanon(serve, beside):
    """The path as the client wrote it, instead of decoded and encoded again."""
    app = beside(applications.FcgiApp("tcp"))
    s = serve('ProxyPass "/raw/" "%s/" nocanon\nProxyPass "/p/" "%s/"\nProxyFCGIBackendType GENERIC\n' % (app.url, app.url))
    for path in ("a%20b", "%61+b", "a;b=%7E", "%c3%A4"):
        assert s.get("/raw/%s?var=SCRIPT_FILENAME" % path).body.decode() == "/%s\n" % path
    assert s.get("/p/%61%7E?var=SCRIPT_FILENAME").body == b"/a~\n"


def test_variables_are_each_told_once(serve, beside):
    """Very long and empty ones, one with every byte, and many; what SetEnv says never stands beside the server's own."""
    b = beside(Backend("unix"))
    s = serve('SetEnv LENGTHY "%s"\nSetEnv EMPTY ""\nSetEnv SCRIPT_NAME /forged\nSetEnv REQUEST_METHOD FORGED\nSetEnv SERVER_PORT 1\n'
              'ProxyPass "/app/" "%s/"\n' % ("l" * 5000, b.url))
    fields = "".join("X-F%d: %s\r\n" % (i, "v" * (i * 29 % 400)) for i in range(90)) + "X-Bytes: \x80\xff\t~\r\n"
    with Client(s) as client:
        client.send(("GET /app/x?a=b&c=%%20 HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % fields).encode("latin-1"))
        p = b.expect().params  # each name once, or it fails
        b.conversations[0].answer("done")
        assert client.answer().body == b"done"
    assert p["LENGTHY"] == "l" * 5000 and p["EMPTY"] == "" and p["HTTP_X_BYTES"] == "\x80\xff\t~"
    assert all(p["HTTP_X_F%d" % i] == "v" * (i * 29 % 400) for i in range(90))
    assert (p["REQUEST_METHOD"], p["QUERY_STRING"], p["SERVER_PORT"]) == ("GET", "a=b&c=%20", "80")
    assert p["SCRIPT_NAME"] + p.get("PATH_INFO", "") in ("/app/x", "/app/x/x") and p["GATEWAY_INTERFACE"] == "CGI/1.1"


@pytest.mark.parametrize("line", [
    'ProxyFCGISetEnvIf "true"', 'ProxyFCGISetEnvIf "true" !NAME value', 'ProxyFCGISetEnvIf "(true" NAME value',
    'ProxyFCGISetEnvIf "reqenv(\'A\') =~ /(/" NAME value', 'ProxyFCGISetEnvIf "" NAME value', 'ProxyFCGISetEnvIf "true" "" value',
    'ProxyFCGISetEnvIf "nonsense(" NAME value'])
def test_conditions_that_make_no_sense(make, line):
    result = make(line + "\n").run("-t")
    assert result.returncode != 0 and "Syntax error on line" in result.stderr, result.stderr
