"""mod_alias and mod_dir: which file or other URL an address stands for."""
import pytest


def location(response):
    return response.status, response.headers.get("Location")


def test_alias(make):
    s = make("""
Alias "/manual/" "{root}/elsewhere/"
AliasMatch "^/by/([a-z]+)/(.+)$" "{root}/elsewhere/$1-$2"
<Directory "{root}/elsewhere">
    Require all granted
</Directory>
Alias "/closed/" "{root}/closed/"
""", files={"index.html": "home\n"})
    s.write("elsewhere/page.html", "the page")
    s.write("elsewhere/de-page.html", "die Seite")
    s.write("closed/page.html", "nobody's")
    s.start()
    assert s.get("/manual/page.html").body == b"the page"
    assert s.get("/by/de/page.html").body == b"die Seite"
    assert s.get("/manualpage.html").status == 404
    # An alias leads out of the document root, but not past what is required there.
    assert s.get("/closed/page.html").status == 403
    assert s.get("/manual/../closed/page.html").status == 403


def test_alias_of_a_location(serve):
    s = serve('<Location "/favicon.ico">\n    Alias "{root}/htdocs/icons/site.ico"\n</Location>',
              files={"icons/site.ico": "icon"})
    assert s.get("/favicon.ico").body == b"icon"


@pytest.mark.parametrize("path,expected", [
    ("/old", (302, "http://new.example")),
    ("/old/a%20b?q=1", (302, "http://new.example/a%20b?q=1")),
    ("/older", (404, None)),
    ("/moved/x", (301, "http://new.example/m/x")),
    ("/kept", (308, "http://new.example/k")),
    ("/local/x", (302, "http://127.0.0.1:{port}/here/x")),
    ("/rel/x", (302, "/here")),
    ("/img/a.gif", (302, "http://img.example/a.png")),
    ("/burnt", (410, None)),
    ("/hidden/x", (404, None)),
    ("/sub/inside", (303, "http://inside.example/")),
])
def test_redirect(serve, path, expected):
    s = serve("""
Redirect "/old" "http://new.example"
Redirect permanent "/moved/" "http://new.example/m/"
Redirect 308 "/kept" "http://new.example/k"
Redirect "/local/" "/here/"
RedirectMatch "^/img/(.*)\\.gif$" "http://img.example/$1.png"
Redirect gone "/burnt"
Redirect 404 "/hidden"
<Location "/rel">
    RedirectRelative On
    Redirect "/here"
</Location>
<Directory "{root}/htdocs/sub">
    Redirect seeother "/sub/inside" "http://inside.example/"
</Directory>
""", files={"sub/x": "", "index.html": ""})
    status, target = expected
    assert location(s.get(path)) == (status, target and target.format(port=s.port))


def test_a_redirect_to_nowhere_is_an_error_at_start(make):
    s = make('Redirect "/x" "nowhere"')
    r = s.run("-t")
    assert r.returncode == 1
    assert "neither a URL nor a path" in r.stderr and "httpd.conf" in r.stderr


def test_the_slash_behind_a_directory(serve):
    s = serve('<Directory "{root}/htdocs/plain">\n    DirectorySlash Off\n    Options +Indexes\n</Directory>',
              files={"dir/index.html": "d", "plain/a.txt": "a"})
    assert location(s.get("/dir?x=1")) == (301, "http://127.0.0.1:%d/dir/?x=1" % s.port)
    assert s.get("/plain").status == 200


def test_index_files(serve):
    s = serve("""
DirectoryIndex index.html home.txt
<Directory "{root}/htdocs/shared">
    DirectoryIndex none.html /common/page.html
</Directory>
<Directory "{root}/htdocs/none">
    DirectoryIndex disabled
    Options -Indexes
</Directory>
<Directory "{root}/htdocs/sent">
    DirectoryIndexRedirect permanent
</Directory>
<Directory "{root}/htdocs/denied">
    <Files "index.html">
        Require all denied
    </Files>
</Directory>
""", files={"first/home.txt": "second choice", "both/index.html": "first", "both/home.txt": "second",
            "shared/x": "", "common/page.html": "common", "none/index.html": "never", "sent/index.html": "s",
            "denied/index.html": "no", "denied/x": ""})
    assert s.get("/first/").body == b"second choice"
    assert s.get("/first/").headers["Content-Type"] == "text/plain"
    assert s.get("/both/").body == b"first"
    assert s.get("/shared/").body == b"common"
    assert s.get("/none/").status == 403
    assert location(s.get("/sent/")) == (301, "http://127.0.0.1:%d/sent/index.html" % s.port)
    # What is forbidden is not covered up by the next name or a listing.
    assert s.get("/denied/").status == 403


def test_fallback_resource(serve):
    s = serve("""
<Directory "{root}/htdocs/app">
    FallbackResource /app/front.html
</Directory>
<Directory "{root}/htdocs/app/files">
    FallbackResource disabled
</Directory>
""", files={"app/front.html": "front", "app/real.txt": "real", "app/files/x.txt": "x"})
    assert s.get("/app/any/thing").body == b"front"
    assert s.get("/app/real.txt").body == b"real"
    assert s.get("/app/files/missing").status == 404
