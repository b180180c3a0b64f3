"""Files: bodies of all sizes, types, the file cache under change, and what must not be served."""
import os
import threading

import harness

BIG = bytes(range(256)) * 40960  # 10 MiB


def test_bodies_and_fields(serve):
    server = serve(files={"a.txt": "hello\n", "noext": "x", "empty": "", "d/index.html": "<p>index"})
    answer = server.get("/a.txt")
    assert (answer.status, answer.body) == (200, b"hello\n")
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Content-Length"] == "6"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] and answer.headers["Last-Modified"] and answer.headers["Date"]
    assert server.get("/noext").headers["Content-Type"] is None
    empty = server.get("/empty")
    assert (empty.status, empty.body, empty.headers["Content-Length"]) == (200, b"", "0")
    assert server.get("/d/").body == b"<p>index"


def test_head_has_the_same_fields(serve):
    server = serve(files={"a.txt": "hello\n"})
    os.utime(server.path("htdocs", "a.txt"), (1, 1000000000))  # the tag of a file of this second is weak for a while
    get, head = server.get("/a.txt"), server.request("HEAD", "/a.txt")
    assert head.body == b""
    same = lambda answer: sorted((k, v) for k, v in answer.headers.items() if k != "Date")
    assert same(get) == same(head)


def test_large_file(serve):
    server = serve(files={"big": BIG})
    for _ in range(2):
        assert server.get("/big").body == BIG


def test_without_sendfile(serve):
    server = serve("EnableSendfile Off", files={"big": BIG})
    assert server.get("/big").body == BIG
    assert server.get("/big", {"Range": "bytes=5-"}).body == BIG[5:]


def test_changes_are_seen_at_once(serve):
    server = serve(files={"a.txt": "0"})
    client = server.client()
    for i in range(200):
        with open(server.path("htdocs", "a.txt"), "w") as f:  # in place, the same size for a while
            f.write(str(i % 10))
        client.request("GET", "/a.txt")
        assert client.getresponse().read() == str(i % 10).encode()
    for i in range(50):
        server.write("htdocs/a.txt", "replaced %d" % i)
        client.request("GET", "/a.txt")
        assert client.getresponse().read() == b"replaced %d" % i
    os.unlink(server.path("htdocs", "a.txt"))
    client.request("GET", "/a.txt")
    answer = client.getresponse()
    answer.read()
    assert answer.status == 404
    client.close()


def test_current_release_is_switched(serve):
    server = serve("<Directory {root}/htdocs>\nOptions FollowSymLinks\n</Directory>",
                   files={"releases/1/v": "1", "releases/2/v": "2"})
    link = server.path("htdocs", "current")
    for release in "1212":
        os.symlink("releases/" + release, link + ".new")
        os.rename(link + ".new", link)
        assert server.get("/current/v").body == release.encode()


def test_truncated_while_being_sent(serve):
    server = serve(files={"big": BIG, "ok": "fine"})
    with server.connect() as s:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        head = s.recv(1000)
        assert b" 200 " in head
        os.truncate(server.path("htdocs", "big"), 1000)
        got = len(head)
        while True:  # the connection ends short of the length it announced: no keep-alive stream is corrupted
            piece = s.recv(65536)
            if not piece:
                break
            got += len(piece)
    assert got < len(BIG)
    assert server.get("/ok").body == b"fine"


def test_replaced_while_being_sent(serve):
    server = serve(files={"big": BIG})
    with server.connect() as s:
        s.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = s.recv(1000)
        server.write("htdocs/big", b"new")
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            answer += piece
    assert answer.partition(b"\r\n\r\n")[2] == BIG
    assert server.get("/big").body == b"new"


def test_methods(serve):
    server = serve(files={"a.txt": "hello\n"})
    refused = server.request("PUT", "/a.txt")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET,POST,OPTIONS,HEAD,TRACE")
    assert server.request("BREW", "/a.txt").status == 501
    options = server.request("OPTIONS", "/a.txt")
    assert (options.status, options.headers["Allow"]) == (200, "GET,POST,OPTIONS,HEAD,TRACE")
    assert server.request("POST", "/a.txt", body=b"x" * 10000).body == b"hello\n"
    assert server.request("TRACE", "/a.txt").headers["Content-Type"] == "message/http"


def test_body_limit(serve):
    server = serve("LimitRequestBody 10", files={"a.txt": "hello\n"})
    assert server.request("POST", "/a.txt", body=b"x" * 10).status == 200
    assert server.request("POST", "/a.txt", body=b"x" * 11).status == 413


def test_names_that_hide(serve):
    server = serve(files={"a.txt": "hello\n", "dir/x": "x"})
    os.mkfifo(server.path("htdocs", "fifo"))
    for path, status in (("/a%2ftxt", 404), ("/a%00.txt", 404), ("/..%2f..%2fetc/passwd", 404), ("/%2e%2e/x", 400),
                         ("/" + "a" * 300, 403), ("/fifo", 403), ("/a.txt/more", 404), ("/a.txt/", 404),
                         ("/dir", 301), ("/%zz", 400), ("/%61.txt", 200), ("//a.txt", 200), ("/dir/../a.txt", 200)):
        assert (path, server.get(path).status) == (path, status)


def test_unreadable_file(serve):
    server = serve(files={"a.txt": "secret\n"})
    os.chmod(server.path("htdocs", "a.txt"), 0)
    if harness.unprivileged() or os.geteuid() != 0:
        assert server.get("/a.txt").status == 403
        assert "permissions deny" in server.error_log()
    os.chmod(server.path("htdocs", "a.txt"), 0o644)
    assert server.get("/a.txt").status == 200


def test_cache_bounds(serve):
    server = serve("OpenFileCache 4\nContentCacheSize 4K\nContentCacheMaxFile 2K",
                   files={"f%d" % i: b"%d" % i * 500 * i for i in range(20)})
    for _ in range(3):
        for i in range(20):
            assert server.get("/f%d" % i).body == b"%d" % i * 500 * i


def test_many_at_once_while_files_change(serve):
    server = serve(files={"f": b"a" * 5000})
    wrong = []

    def reader():
        client = server.client()
        for _ in range(100):
            client.request("GET", "/f")
            body = client.getresponse().read()
            if body != body[:1] * 5000:
                wrong.append(body[:20])
        client.close()

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(100):
        server.write("htdocs/f", b"%c" % (97 + i % 26) * 5000)
    for t in threads:
        t.join()
    assert not wrong
