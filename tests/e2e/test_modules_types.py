"""mod_mime and mod_authz_core: what a file is, and who may have it."""
import pytest


@pytest.mark.parametrize("name,expected", [
    ("a.html", {"Content-Type": "text/html"}),
    ("a.HTML", {"Content-Type": "text/html"}),
    ("a.page", {"Content-Type": "text/html"}),
    ("a.html.unknown", {"Content-Type": "text/html"}),
    ("a.css", {"Content-Type": "text/css"}),
    ("noext", {"Content-Type": None}),
    (".html", {"Content-Type": None}),
    ("a.tar.gz", {"Content-Type": "application/x-tar", "Content-Encoding": "x-gzip"}),
    ("a.utf8.html", {"Content-Type": "text/html; charset=utf-8"}),
    ("a.html.de", {"Content-Type": "text/html", "Content-Language": "de"}),
    ("a.de.utf8.html.gz", {"Content-Type": "text/html; charset=utf-8", "Content-Language": "de",
                           "Content-Encoding": "x-gzip"}),
    ("plain/a.html", {"Content-Type": "text/plain"}),
    ("bare/a.html", {"Content-Type": None}),
    ("bare/a.txt.gz", {"Content-Type": "text/plain", "Content-Encoding": None}),
])
def test_types(serve, name, expected):
    s = serve("""
AddType text/html .page
AddEncoding x-gzip .gz
RemoveType .gz
AddType application/x-tar .tar
AddCharset utf-8 .utf8
AddLanguage de .de
<Directory "{root}/htdocs/plain">
    ForceType text/plain
</Directory>
<Directory "{root}/htdocs/bare">
    RemoveType .html
    RemoveEncoding .gz
    AddType text/plain .txt
</Directory>
""", files={name: "x"})
    r = s.get("/" + name)
    assert r.status == 200
    for field in ("Content-Type", "Content-Encoding", "Content-Language"):
        if field in expected or field != "Content-Type":
            assert r.headers.get(field) == expected.get(field), field


def test_types_config(make):
    s = make('TypesConfig "{root}/conf/types"', files={"a.own": "x", "b.html": "x"})
    s.write("conf/types", "# ours\ntext/x-own\town oow\n\ntext/x-none\n")
    s.start()
    assert s.get("/a.own").headers["Content-Type"] == "text/x-own"
    assert s.get("/b.html").headers["Content-Type"] is None
    # A new table takes effect with a restart, without touching what is served meanwhile.
    s.write("conf/types", "text/x-new own html\n")
    assert s.get("/a.own").headers["Content-Type"] == "text/x-own"
    s.graceful()
    assert s.get("/a.own").headers["Content-Type"] == "text/x-new"


def test_a_types_config_that_is_not_there(make):
    r = make('TypesConfig "{root}/conf/none"').run("-t")
    assert r.returncode == 1 and "TypesConfig" in r.stderr and "conf/none" in r.stderr


def test_a_handler_that_is_missing_shows_no_source(serve):
    s = serve("AddHandler no-such-script .php", files={"a.php": "<?php secret();"})
    r = s.get("/a.php")
    assert r.status == 500 and b"secret" not in r.body
    assert "no-such-script" in s.error_log()


def test_a_source_filter_is_refused(make):
    r = make("AddOutputFilter INCLUDES .shtml").run("-t")
    assert r.returncode == 1 and "INCLUDES" in r.stderr


@pytest.mark.parametrize("path,status", [
    ("/open/a", 200), ("/open/shut/a", 403), ("/open/shut/again/a", 200), ("/open/secret", 403),
    ("/merge/and/a", 403), ("/merge/or/a", 200), ("/merge/off/a", 200), ("/none/a", 403), ("/located/a", 403),
])
def test_require(serve, path, status):
    s = serve("""
<Directory "{root}/htdocs/open/shut">
    Require all denied
</Directory>
<Directory "{root}/htdocs/open/shut/again">
    Require all granted
</Directory>
<Files "secret">
    Require all denied
</Files>
<Directory "{root}/htdocs/merge">
    Require all denied
</Directory>
<Directory "{root}/htdocs/merge/and">
    AuthMerging And
    Require all granted
</Directory>
<Directory "{root}/htdocs/merge/or">
    AuthMerging Or
    Require all granted
</Directory>
<Directory "{root}/htdocs/merge/off">
    Require all granted
</Directory>
<Directory "{root}/htdocs/none">
    Require all denied
</Directory>
<Location "/located">
    Require all denied
</Location>
""", files={path[1:]: "x"})
    r = s.get(path)
    assert r.status == status
    if status == 403:
        assert b"x" != r.body
        line = next(line for line in s.error_log().splitlines() if "MU1050" in line)
        assert "[authz_core:error]" in line and "client denied by server configuration" in line
        assert "[client 127.0.0.1:" in line


def test_require_by_method(serve):
    s = serve('<Directory "{root}/htdocs/limited">\n    <Limit POST>\n        Require all denied\n    </Limit>\n'
              '</Directory>', files={"limited/a": "a"})
    assert s.get("/limited/a").status == 200
    assert s.request("HEAD", "/limited/a").status == 200
    assert s.request("POST", "/limited/a", body=b"x").status == 403


@pytest.mark.parametrize("line", ["Require ip 127.0.0.1", "Require valid-user", "Require all maybe", "Require all",
                                  "Require not all granted"])
def test_what_cannot_be_decided_is_refused(make, line):
    r = make('<Directory "{root}/htdocs">\n    %s\n</Directory>' % line).run("-t")
    assert r.returncode == 1
    assert "granted" in r.stderr and "line" in r.stderr
