"""Error pages, ErrorDocument in its kinds, redirects and their bodies."""


def test_standard_pages(serve):
    server = serve("ServerSignature Off\nServerAdmin me@example.test", files={"d/x": "x"})
    answer = server.get("/none")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html; charset=iso-8859-1"
    assert b"<title>404 Not Found</title>" in answer.body
    assert b"<address>" not in answer.body
    moved = server.get("/d")
    assert moved.status == 301
    assert moved.headers["Location"] == "http://127.0.0.1:%d/d/" % server.port
    assert b'<a href="http://127.0.0.1:%d/d/">here</a>' % server.port in moved.body


def test_signature_is_escaped(serve):
    server = serve("ServerSignature On")
    answer = server.raw(b"GET /none HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n")
    assert b"Server at example.test Port 80</address>" in answer


def test_text_local_and_url(serve):
    server = serve("""
        ErrorDocument 404 "nothing <b>here</b>"
        ErrorDocument 403 /sorry.html
        ErrorDocument 405 http://elsewhere.test/
        <Location /closed>
            Require all denied
        </Location>
        """, files={"sorry.html": "<p>sorry", "closed/x": "x"})
    assert server.get("/none").body == b"nothing <b>here</b>"
    closed = server.get("/closed/x")
    assert (closed.status, closed.body, closed.headers["Content-Type"]) == (403, b"<p>sorry", "text/html")
    head = server.request("HEAD", "/closed/x")
    assert (head.status, head.headers["Content-Length"]) == (403, "8")
    moved = server.request("DELETE", "/sorry.html")
    assert (moved.status, moved.headers["Location"]) == (302, "http://elsewhere.test/")


def test_document_that_fails(serve):
    server = serve("ErrorDocument 404 /missing\nErrorDocument 403 /closed/sorry\n"
                   "<Location /closed>\nRequire all denied\n</Location>")
    answer = server.get("/none")
    assert answer.status == 404
    assert b"Additionally, a 404 Not Found" in answer.body
    answer = server.get("/closed/x")
    assert answer.status == 403
    assert b"Additionally, a 403 Forbidden" in answer.body


def test_document_of_a_directory(serve):
    server = serve('ErrorDocument 404 outer\n<Directory "{root}/htdocs/in">\nErrorDocument 404 inner\n</Directory>\n'
                   '<Directory "{root}/htdocs/in/default">\nErrorDocument 404 default\n</Directory>',
                   files={"in/x": "", "in/default/x": ""})
    assert server.get("/none").body == b"outer"
    assert server.get("/in/none").body == b"inner"
    assert b"was not found on this server" in server.get("/in/default/none").body


def test_keep_alive_goes_on_behind_an_error(serve):
    server = serve(files={"a.txt": "a"})
    client = server.client()
    for path, status in (("/none", 404), ("/a.txt", 200), ("/none", 404), ("/a.txt", 200)):
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        assert answer.status == status
    client.close()
