"""Sections in httpd's merge order, virtual hosts, and the guard for .htaccess files."""


def test_later_sections_win(serve):
    server = serve("""
        <Location /loc>
            ErrorDocument 404 location
        </Location>
        <Files "*.f">
            ErrorDocument 404 files
        </Files>
        <DirectoryMatch "/match/">
            ErrorDocument 404 match
        </DirectoryMatch>
        <Directory "{root}/htdocs/*/deep">
            ErrorDocument 404 wild
        </Directory>
        <Directory "{root}/htdocs">
            ErrorDocument 404 plain
        </Directory>
        """, files={"loc/deep/x": "", "match/deep/x": "", "a/deep/x": "", "a/x": ""})
    for path, text in (("/none", b"plain"), ("/a/none", b"plain"), ("/a/deep/none", b"wild"), ("/match/none", b"match"),
                       ("/a/deep/none.f", b"files"), ("/match/none.f", b"files"), ("/loc/deep/none.f", b"location"),
                       ("/location", b"plain")):
        assert (path, server.get(path).body) == (path, text)


def test_access_by_section(serve):
    server = serve("""
        <Directory "{root}/htdocs/private">
            Require all denied
        </Directory>
        <Files "open.txt">
            Require all granted
        </Files>
        <Location "/gate">
            Require all denied
        </Location>
        """, files={"private/x": "x", "private/open.txt": "open", "gate/x": "x", "gatehouse": "ok"})
    for path, status in (("/private/x", 403), ("/private/open.txt", 200), ("/gate/x", 403), ("/gate", 403),
                         ("/gatehouse", 200), ("/%67ate/x", 403), ("/private/./x", 403), ("//gate/x", 403),
                         ("/gatehouse/../gate/x", 403)):
        assert (path, server.get(path).status) == (path, status)


def test_virtual_hosts(serve):
    server = serve("""
        <VirtualHost *>
            ServerName one.test
            DocumentRoot "{root}/htdocs/one"
        </VirtualHost>
        <VirtualHost *>
            ServerName two.test
            ServerAlias *.two.test
            DocumentRoot "{root}/htdocs/two"
            ErrorLog "{root}/logs/two.log"
        </VirtualHost>
        """, files={"one/x": "one", "two/x": "two"})
    for host, text in (("one.test", b"one"), ("two.test", b"two"), ("TWO.test:1234", b"two"), ("a.two.test", b"two"),
                       ("unknown", b"one")):
        assert (host, server.get("/x", {"Host": host}).body) == (host, text)
    assert server.get("http://two.test/x", {"Host": "one.test"}).body == b"two"
    server.get("/nothing-here", {"Host": "two.test"})
    with open(server.path("logs", "two.log")) as f:
        assert "nothing-here" in f.read()
    assert "nothing-here" not in server.error_log()


def test_hosts_by_port(serve):
    server = serve(files={"x": "one", "two/x": "two"}, ports=2)
    server.configure('<VirtualHost *:%d>\nDocumentRoot "{root}/htdocs/two"\n</VirtualHost>' % server.ports[1])
    server.graceful()
    assert server.get("/x", port=server.ports[0]).body == b"one"
    assert server.get("/x", port=server.ports[1]).body == b"two"


def test_htaccess_fails_closed(serve):
    server = serve("""
        <Directory "{root}/htdocs/app">
            AllowOverride All
        </Directory>
        """, files={"app/x": "x", "app/private/x": "x", "app/private/.htaccess": "Require all denied\n",
                    "other/x": "x", "other/.htaccess": "Require all denied\n"})
    assert server.get("/app/x").status == 200
    assert server.get("/app/private/x").status == 500
    assert server.get("/other/x").status == 200  # AllowOverride None: nobody looks
    assert ".htaccess" in server.error_log()
    server.write("htdocs/app/.htaccess", "")
    assert server.get("/app/x").status == 500


def test_unknown_handler_shows_no_source(serve):
    server = serve('<Files "*.app">\nSetHandler application/x-nobody\n</Files>', files={"x.app": "secret source"})
    answer = server.get("/x.app")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "application/x-nobody" in server.error_log()
