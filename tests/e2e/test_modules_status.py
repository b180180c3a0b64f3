"""mod_status and mod_hello, and modules built outside the tree with musterxs."""
import os
import re
import subprocess

import harness
import pytest

STATUS = '<Location "/server-status">\n    SetHandler server-status\n</Location>\n'
MUSTERXS = os.path.join(harness.TOP, "tools", "musterxs")
KEYS = """ServerVersion ServerMPM CurrentTime RestartTime ParentServerConfigGeneration ParentServerMPMGeneration
ServerUptimeSeconds ServerUptime Load1 Load5 Load15|Total Accesses|Total kBytes|Total Duration|CPUUser CPUSystem
CPUChildrenUser CPUChildrenSystem CPULoad Uptime ReqPerSec BytesPerSec BusyWorkers GracefulWorkers IdleWorkers
Processes Stopping Scoreboard""".replace("\n", " ")
KEYS = [k for part in KEYS.split("|") for k in ([part] if part.startswith("Total") else part.split())]


def machine(s):
    lines = s.get("/server-status?auto").body.decode().splitlines()
    assert lines[0] == "127.0.0.1"
    return dict(line.split(": ", 1) for line in lines[1:] if ": " in line)


def test_machine_form(serve):
    s = serve(STATUS, files={"a": "x" * 4096})
    values = machine(s)
    for key in KEYS:
        assert key in values, key
    assert values["ServerMPM"] == harness.MPM
    assert re.fullmatch(r"[_SRWKDCLGI.]+", values["Scoreboard"])
    assert values["Scoreboard"].count("W") >= 1     # the one that says so
    assert int(values["BusyWorkers"]) >= 1
    harness.wait_until("it knows all processes", lambda: int(machine(s)["Processes"]) == len(s.children()))
    assert s.get("/server-status?auto").headers["Content-Type"].startswith("text/plain")


def test_requests_and_bytes_are_counted(serve):
    s = serve(STATUS, files={"a": "x" * 4096})
    before = machine(s)
    for _ in range(20):
        s.get("/a")
    harness.wait_until("20 requests and 80 kB are counted", lambda: (
        int(machine(s)["Total Accesses"]) >= int(before["Total Accesses"]) + 20
        and int(machine(s)["Total kBytes"]) >= int(before["Total kBytes"]) + 80))


def test_page(serve):
    s = serve(STATUS)
    r = s.get("/server-status")
    assert r.status == 200 and r.headers["Content-Type"] == "text/html; charset=utf-8"
    text = r.body.decode()
    assert "Server status for 127.0.0.1" in text and "MPM</dt><dd>%s<" % harness.MPM in text
    assert text.count("<table>") == text.count("</table>") and text.rstrip().endswith("</html>")
    assert s.get("/server-status?refresh=7").headers["Refresh"] == "7"
    assert s.get("/server-status?refresh").headers["Refresh"] == "10"
    assert "<table><tr><th>Worker" not in s.get("/server-status?notable").body.decode()


def test_what_clients_send_is_escaped(serve):
    s = serve(STATUS)
    with s.connect() as c:
        c.sendall(b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.recv(65536).startswith(b"HTTP/1.1 404")
        text = s.get("/server-status").body.decode()
    assert "<script>" not in text
    assert s.request("POST", "/server-status", body=b"").status == 405


def test_hello(serve):
    s = serve("""
LoadModule hello_module modules/mod_hello.so
<Location "/hello">
    SetHandler hello
</Location>
<Location "/hello/there">
    HelloText "Good day.\\n"
</Location>
""")
    assert s.get("/hello").body == b"Hello from Muster.\n"
    assert s.get("/hello/there").body.startswith(b"Good day.")
    assert s.get("/hello").headers["Content-Type"] == "text/plain"
    assert s.request("POST", "/hello", body=b"").status == 405
    assert "hello_module (shared)" in s.run("-M").stdout


def musterxs(*args, cwd):
    return subprocess.run([MUSTERXS, *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=harness.PATIENCE)


def test_a_module_from_outside_the_tree(make):
    s = make("""
LoadModule greeting_module "{root}/greeting/mod_greeting.so"
<Location "/greeting">
    SetHandler greeting
</Location>
<Location "/greeting/own">
    GreetingText "own text"
</Location>
""")
    assert musterxs("-g", "-n", "greeting", cwd=s.root).returncode == 0
    r = musterxs("-c", "-Wc,-Werror", "greeting/mod_greeting.c", cwd=s.root)
    assert r.returncode == 0, r.stdout
    s.start()
    assert s.get("/greeting").body == b"The module greeting is at work.\n"
    assert s.get("/greeting/own").body == b"own text"


def test_installing_a_module(make, monkeypatch):
    s = make()
    musterxs("-g", "-n", "x", cwd=s.root)
    monkeypatch.setenv("BUILD", s.path("fake"))
    monkeypatch.setenv("MUSTER_CONFDIR", s.path("conf"))
    os.mkdir(s.path("fake"))
    r = musterxs("-c", "-i", "-a", "x/mod_x.c", cwd=s.root)
    assert r.returncode == 0, r.stdout
    assert os.path.exists(s.path("fake", "modules", "mod_x.so"))
    with open(s.path("conf", "mods-available", "x.load")) as f:
        assert f.read() == "LoadModule x_module %s\n" % s.path("fake", "modules", "mod_x.so")


def documented_modules():
    """The modules that docs/modules.md shows whole, by name."""
    with open(os.path.join(harness.TOP, "docs", "modules.md")) as f:
        blocks = re.findall(r"^```c\n(.*?)^```", f.read(), re.S | re.M)
    return {re.match(r"/\* mod_(\w+):", b)[1]: b for b in blocks}


def test_the_documented_modules_work(make):
    modules = documented_modules()
    s = make("\n".join('LoadModule %s_module "{root}/mod_%s.so"' % (m, m) for m in modules) + """
<Location "/greet">
    SetHandler visitor
    VisitorName Ada
</Location>
<Location "/a.txt">
    VisitorAnnounce On
    ShoutOutput On
</Location>
<Location "/loud">
    SetHandler visitor
    ShoutOutput On
</Location>
<Location "/count">
    SetHandler countdown
</Location>
""", files={"a.txt": "text"})
    for name, text in modules.items():
        s.write("mod_%s.c" % name, text)
        r = musterxs("-c", "-Wc,-Werror", "mod_%s.c" % name, cwd=s.root)
        assert r.returncode == 0, r.stdout
    s.start()
    assert s.get("/greet").body == b"Hello, Ada.\n"
    assert s.get("/a.txt").headers["X-Visitor"] == "stranger"
    assert s.get("/loud").body == b"HELLO, STRANGER.\n"
    assert s.get("/count").body == b"3\n2\n1\n"


@pytest.mark.parametrize("change,message", [
    ("MU_MODULE(x", "does not export mu_module_x"),
    ("mu_resp_type(r", "error"),
])
def test_mistakes_are_found_while_building(make, change, message):
    s = make()
    musterxs("-g", "-n", "x", cwd=s.root)
    with open(s.path("x", "mod_x.c")) as f:
        text = f.read()
    with open(s.path("x", "mod_x.c"), "w") as f:
        f.write(text.replace(change, change.replace("(x", "(other").replace("(r", "(")))
    r = musterxs("-c", "x/mod_x.c", cwd=s.root)
    assert r.returncode != 0 and message in r.stdout


def test_a_module_of_another_age_is_refused(make):
    s = make('LoadModule x_module "{root}/x/mod_x.so"')
    musterxs("-g", "-n", "x", cwd=s.root)
    with open(s.path("x", "mod_x.c"), "a") as f:
        f.write("static void __attribute__((constructor)) older(void)\n{\n    mu_module_x.abi = 0;\n}\n")
    assert musterxs("-c", "x/mod_x.c", cwd=s.root).returncode == 0
    r = s.run("-t")
    assert r.returncode == 1 and "ABI" in r.stderr
