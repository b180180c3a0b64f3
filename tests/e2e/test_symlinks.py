"""Symbolic links: where httpd lets them lead they work, elsewhere no name and no race gets through."""
import os
import threading

import pytest

FILES = {"real/a.txt": "a", "x.txt": "x"}


def links(server):
    os.makedirs(server.path("outside"))
    with open(server.path("outside", "o.txt"), "w") as f:
        f.write("o")
    for name, target in (("file", "real/a.txt"), ("dir", "real"), ("out", server.path("outside")),
                         ("dangling", "nowhere"), ("loop", "loop")):
        os.symlink(target, server.path("htdocs", name))


def statuses(server, expected):
    for path, status in expected.items():
        assert (path, server.get(path).status) == (path, status)


def test_follow(serve):
    server = serve('<Directory "{root}/htdocs">\nOptions FollowSymLinks\n</Directory>', files=FILES)
    links(server)
    statuses(server, {"/file": 200, "/dir/a.txt": 200, "/out/o.txt": 200, "/dangling": 403, "/loop": 403,
                      "/dir/none": 404})
    assert server.get("/out/o.txt").body == b"o"  # sections go by the name that was asked for, not by the target's


def test_none(serve):
    server = serve('<Directory "{root}/htdocs">\nOptions None\n</Directory>', files=FILES)
    links(server)
    statuses(server, {"/real/a.txt": 200, "/file": 403, "/dir/a.txt": 403, "/out/o.txt": 403, "/dangling": 403,
                      "/dir/none": 403, "/real/none": 404})
    assert "ymbolic link not allowed" in server.error_log()


def test_owner(serve):
    server = serve('<Directory "{root}/htdocs">\nOptions SymLinksIfOwnerMatch\n</Directory>', files=FILES)
    links(server)
    statuses(server, {"/file": 200, "/dir/a.txt": 200, "/out/o.txt": 200})
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(server.path("outside"), 65534, 65534)
    os.lchown(server.path("htdocs", "file"), 65534, 65534)
    statuses(server, {"/file": 403, "/dir/a.txt": 200, "/out/o.txt": 403})


def test_a_link_swapped_in_never_wins(serve):
    """A directory and a link to a secret change places all the time; the secret must never be answered."""
    server = serve('<Directory "{root}/htdocs">\nOptions None\n</Directory>', files={"d/f": "public", "x": "x"})
    os.makedirs(server.path("secret"))
    with open(server.path("secret", "f"), "w") as f:
        f.write("secret")
    os.symlink(server.path("secret"), server.path("htdocs", "link"))
    name, link, away = (server.path("htdocs", n) for n in ("d", "link", "away"))
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(name, away)
            os.rename(link, name)
            os.rename(name, link)
            os.rename(away, name)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        client = server.client()
        seen = set()
        for _ in range(3000):
            client.request("GET", "/d/f")
            answer = client.getresponse()
            body = answer.read()
            seen.add(answer.status)
            assert body != b"secret"
        client.close()
    finally:
        stop.set()
        swapper.join()
    assert seen <= {200, 403, 404}
