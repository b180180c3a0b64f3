"""Application pools on the status page, and what is wrong in their configuration."""
import re

import pytest

import rawclient
from applications import pool_user
from harness import unprivileged, wait_until
from poolkit import pools, static  # noqa: F401


# ---- the status page ----

def test_status_page(pools):
    p = pools(*static(2)).start()
    p.settled(2)
    p.ask(mark="<b>", **{"await": p.gate})
    p.ask(mark="two", **{"await": p.gate})
    wait_until("both are busy", lambda: len(p.marked()) == 2)
    p.ask(mark="three")
    wait_until("one waits", lambda: p.auto()["Queue"] == "1")
    found = p.auto()
    assert found["Processes"] == found["Busy"] == "2" and found["Idle"] == "0" and found["State"] == "running"
    assert float(found["LongestWait"]) >= 0
    for process in found["processes"]:
        assert process["state"] == "busy" and int(process["memory"]) > 10000 and process["client"] == "127.0.0.1"
        assert process["request"].startswith('"GET /app?mark=')
    page = p.server.get("/status").body.decode()
    assert "<h2>Application pools</h2>" in page and "<h3>app</h3>" in page and "1 of 511 waiting" in page
    assert all("<td>%d</td><td>busy</td>" % pid in page for pid in p.pids())
    assert "mark=two" in page


# ---- the configuration ----

def test_status_needs_neither_a_process_nor_a_worker(pools):
    """All processes are busy and as many requests wait as there are worker threads: event still shows the page."""
    p = pools(*static(1), more="<IfModule mpm_event_module>\nServerLimit 1\nStartServers 1\nThreadsPerChild 2\n"
              "MaxRequestWorkers 2\n</IfModule>\n").start()
    p.settled(1)
    p.ask(mark="held", **{"await": p.gate})
    wait_until("it runs", lambda: p.marked() == ["held"])
    for i in range(5):
        p.ask(mark="waits%d" % i)
        wait_until("it waits", lambda n=i: p.auto()["Queue"] == str(n + 1))
    found = p.auto()
    assert (found["Busy"], found["Idle"], found["Processes"]) == ("1", "0", "1")
    assert "5 of 511 waiting" in p.server.get("/status").body.decode()
    assert p.server.get("/index.html").status == 200


def test_quotes_in_a_request_are_not_the_pages(pools):
    p = pools(*static(1)).start()
    p.settled(1)
    p.clients.append(rawclient.Client(p.server))
    p.clients[-1].get('/app?mark=x&await=%s&"x"<b>' % p.gate)
    wait_until("it runs", lambda: p.marked() == ["x"])
    assert p.auto()["processes"][0]["request"].endswith('&%22x%22<b> HTTP/1.1"')
    page = p.server.get("/status").body.decode()
    assert "<b>" not in page.split("<h3>app</h3>")[1] and "&lt;b&gt;" in page


def user_line():
    return "User %s\n" % pool_user().pw_name if pool_user() else ""


ERRORS = [
    ("<ApplicationPool a>\n</ApplicationPool>", "ApplicationPool a: Command is missing"),
    ("<ApplicationPool a>\nCommand php-cgi\n</ApplicationPool>", "the program's path must begin with /"),
    ("<ApplicationPool a>\nCommand /no/such\n{user}</ApplicationPool>", "Command: /no/such: No such file"),
    ("<ApplicationPool a>\nCommand /etc/passwd\n{user}</ApplicationPool>", "/etc/passwd is no program"),
    ("<ApplicationPool a>\nCommand /bin/true 'x\n{user}</ApplicationPool>", "leaves a quote open"),
    ("<ApplicationPool a>\nCommand /bin/true\nUser no-such-user\n</ApplicationPool>", 'there is no user "no-such-user"'),
    ("<ApplicationPool a>\nCommand /bin/true\nUser root\n</ApplicationPool>", 'User "root" is root'),
    ("<ApplicationPool a/b>\n</ApplicationPool>", "a name of at most 32 letters"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}</ApplicationPool>\n<ApplicationPool A>\n</ApplicationPool>",
     "<ApplicationPool A> is there already"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}MinSpare 5\n</ApplicationPool>", "MinSpare 5 is above MaxSpare 3"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}StartServers 9\n</ApplicationPool>",
     "StartServers 9 is above MaxChildren 5"),
    ("<ApplicationPool a>\nMaxChildren 0\n</ApplicationPool>", "MaxChildren must be a number from 1 to 1000"),
    ("<ApplicationPool a>\nProcessManager lazy\n</ApplicationPool>", "must be one of static | dynamic | ondemand"),
    ("<ApplicationPool a>\nLimitMemory lots\n</ApplicationPool>", 'LimitMemory "lots"'),
    ("<ApplicationPool a>\nEnvironment 1A=b\n</ApplicationPool>", 'Environment "1A=b"'),
    ("<ApplicationPool a>\nEnvironment PHP_FCGI_CHILDREN=4\n</ApplicationPool>", "MaxChildren says how many"),
    ("<ApplicationPool a>\nCommand /bin/true\n{user}WorkingDirectory work\n</ApplicationPool>", "must begin with /"),
    ("<ApplicationPool a>\nMaxChilden 4\n</ApplicationPool>", "the nearest one is 'MaxChildren'"),
    ("<ApplicationPool a>\nServerName x\n</ApplicationPool>", "is no directive of <ApplicationPool>"),
    ('<Location "/x">\nSetHandler "pool:none"\n</Location>', "there is no <ApplicationPool none>"),
    ('ProxyPass "/x" "pool:none"', "there is no <ApplicationPool none>"),
    ('<Directory "{root}/htdocs">\n<Files "*.x">\nSetHandler pool:none\n</Files>\n</Directory>',
     "there is no <ApplicationPool none>"),
    ('<VirtualHost *:1>\n<Location "/x">\nSetHandler pool:none\n</Location>\n</VirtualHost>',
     "there is no <ApplicationPool none>"),
    ("<VirtualHost *:1>\n<ApplicationPool a>\nCommand /bin/true\n</ApplicationPool>\n</VirtualHost>", "ApplicationPool"),
]
if unprivileged():
    ERRORS += [
        ("<ApplicationPool a>\nCommand /bin/true\n</ApplicationPool>", "User is missing"),
        ("<ApplicationPool a>\nCommand /bin/true\nUser %s\n</ApplicationPool>" % unprivileged().pw_name,
         "is the web children's own"),
        ("<ApplicationPool a>\nCommand /bin/true\n{user}Chroot /no/such\n</ApplicationPool>", "Chroot: /no/such is no folder"),
    ]


@pytest.mark.parametrize("text,expected", ERRORS)
def test_errors_are_found_at_start(make, text, expected):
    server = make(text.replace("{user}", user_line()))
    said = server.run("-t")
    assert said.returncode != 0 and expected in said.stderr, said.stderr
    assert said.stderr.count(expected) == 1 and re.search(
        r"on line \d+ of \S+/httpd\.conf:$|/httpd\.conf:\d+: ", said.stderr, re.M), said.stderr


def test_a_pool_that_htaccess_misspells(pools):
    p = pools(*static(1), more='<Directory "{root}/htdocs">\nAllowOverride All\n</Directory>\n',
              files={"d/.htaccess": 'SetHandler "pool:misspelt"\n', "d/a.txt": "secret"}).start()
    answer = p.server.get("/d/a.txt")
    assert answer.status == 500 and b"secret" not in answer.body


def test_directives_are_listed(make):
    text = make().run("-L").stdout
    assert "<ApplicationPool (mod_pool.c)\n" in text
    assert re.search(r"^QueueTimeout \(mod_pool\.c\)\n\t.*\n\tAllowed in \*\.conf only inside <ApplicationPool>$", text, re.M)
