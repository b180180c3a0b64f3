"""SuexecUserGroup: scripts as another user, chosen by the configuration alone; and what keeps one from being run so."""
import grp
import os
import pwd
import re

import pytest

from cgiscripts import is_alive, variables
from harness import unprivileged, wait_until

pytestmark = pytest.mark.skipif(not unprivileged(), reason="only root can run scripts as another user")

NOBODY = pwd.getpwnam("nobody")
GROUP = grp.getgrgid(NOBODY.pw_gid).gr_name
# Any further user that scripts may run as.
OTHER = next((u for u in pwd.getpwall() if 100 <= u.pw_uid < 65000 and u.pw_gid >= 100), None)
CONFIG = """
ScriptAlias "/own/" "{root}/htdocs/own/"
SuexecUserGroup nobody %s
""" % GROUP
IDS = 'head; echo "$(id -u) $(id -g) $(id -G) $(pwd)"\n'


class Owned:
    """A site whose folder /own/ belongs to nobody."""

    def __init__(self, cgi, config="", **kwargs):
        self.s = cgi(CONFIG + config, folders=("htdocs/own", "other/own"), **kwargs)
        self.folder("own")
        os.chmod(self.s.path("notes"), 0o666)

    def folder(self, name, user=NOBODY, mode=0o755):
        path = self.s.server.path("htdocs", name)
        os.makedirs(path, exist_ok=True)
        os.chown(path, user.pw_uid, user.pw_gid)
        os.chmod(path, mode)
        return path

    def sh(self, name, text, folder="own", user=NOBODY, mode=0o755):
        path = self.s.sh(name, text, "htdocs/" + folder)
        os.chown(path, user.pw_uid, user.pw_gid)
        os.chmod(path, mode)
        return path


@pytest.fixture
def owned(cgi):
    return lambda config="", **kwargs: Owned(cgi, config, **kwargs)


def test_a_script_runs_as_that_user(owned):
    o = owned()
    o.sh("ids", IDS)
    for _ in range(3):
        answer = o.s.get("/own/ids")
        assert answer.body.decode() == "%d %d %d %s\n" % (NOBODY.pw_uid, NOBODY.pw_gid, NOBODY.pw_gid, o.s.server.path("htdocs/own"))
    o.s.await_log("uid %d" % NOBODY.pw_uid, 3)
    # A body in, errors out, and a query as ever.
    o.sh("cat", 'head; echo "said by $(id -un)" >&2; echo "$QUERY_STRING"; cat\n')
    assert o.s.post("/own/cat?q", "body").body == b"q\nbody"
    o.s.await_log("said by nobody")


def test_it_has_three_descriptors_and_default_signals(owned):
    o = owned()
    o.sh("fds", "printf 'Content-Type: text/plain\\n\\n'; ls -m /proc/self/fd; grep -E 'Sig(Ign|Blk)|NoNewPrivs|CapEff|CapPrm|CapInh' /proc/self/status\n")
    text = o.s.get("/own/fds").body.decode()
    assert text.startswith("0, 1, 2, 3\n"), text  # 3 is the listing's own
    values = dict(line.split(":\t") for line in text.splitlines()[1:] if ":\t" in line)
    assert {name: int(value, 16) for name, value in values.items() if name != "NoNewPrivs"} == {
        "SigIgn": 0, "SigBlk": 0, "CapEff": 0, "CapPrm": 0, "CapInh": 0}


def test_its_environment_is_what_suexec_thinks_safe(owned):
    o = owned("SetEnv LD_PRELOAD /tmp/evil.so\nSetEnv ANYTHING evil\nSetEnv PATH /tmp/evil\nSetEnv HTTP_X_OWN passed\n")
    path = o.sh("env", "").replace("/own/env", "/own/environ")
    with open(path, "w") as f:
        f.write("#!/usr/bin/python3 -IS\nprint('Content-Type: text/plain\\n\\n' + open('/proc/self/environ').read().replace('\\0', '\\n'))\n")
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    os.chmod(path, 0o755)
    got = variables(o.s.get("/own/environ/info?q=1").body)
    assert got["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    assert not {"LD_PRELOAD", "ANYTHING", "RUN"} & set(got)
    assert (got["PATH_INFO"], got["QUERY_STRING"], got["HTTP_X_OWN"]) == ("/info", "q=1", "passed")
    assert got["SCRIPT_FILENAME"] == path


def refuse_wrong_owner(o):
    return o.sh("a", IDS, user=pwd.getpwnam("root"))


def refuse_wrong_group(o):
    path = o.sh("a", IDS)
    os.chown(path, NOBODY.pw_uid, 0)


def refuse_group_writable(o):
    o.sh("a", IDS, mode=0o775)


def refuse_others_writable(o):
    o.sh("a", IDS, mode=0o757)


def refuse_setuid(o):
    o.sh("a", IDS, mode=0o4755)


def refuse_folder_of_another(o):
    o.sh("a", IDS)
    o.folder("own", pwd.getpwnam("root"))


def refuse_folder_writable(o):
    o.sh("a", IDS)
    o.folder("own", mode=0o775)


def refuse_link(o):
    path = o.sh("b", IDS)
    os.symlink(path, o.s.server.path("htdocs/own/a"))


def refuse_link_to_outside(o):
    """A folder below the DocumentRoot that lies elsewhere."""
    elsewhere = o.s.server.path("elsewhere")
    os.mkdir(elsewhere, 0o755)
    os.chown(elsewhere, NOBODY.pw_uid, NOBODY.pw_gid)
    path = o.s.sh("a", IDS, "elsewhere")
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    os.rmdir(o.s.server.path("htdocs/own"))
    os.symlink(elsewhere, o.s.server.path("htdocs/own"))


REFUSED = [refuse_wrong_owner, refuse_wrong_group, refuse_group_writable, refuse_others_writable, refuse_setuid,
           refuse_folder_of_another, refuse_folder_writable, refuse_link, refuse_link_to_outside]


@pytest.mark.parametrize("case", REFUSED, ids=lambda f: f.__name__[7:])
def test_what_suexec_refuses(owned, case):
    """500, a line in the log that names the script, and nothing has run."""
    o = owned('<Directory "{root}/elsewhere">\nRequire all granted\n</Directory>\n')
    o.sh("good", IDS)
    assert o.s.get("/own/good").status == 200
    os.unlink(o.s.server.path("htdocs/own/good"))
    case(o)
    answer = o.s.get("/own/a")
    assert answer.status == 500 and str(NOBODY.pw_uid).encode() not in answer.body
    line = wait_until("the log says why", lambda: [x for x in o.s.log_lines("suexec") if "error]" in x])[0]
    assert "own/a" in line


def test_nothing_outside_of_the_document_root_is_run(owned):
    o = owned()
    path = o.s.sh("a", IDS)
    for name in ("cgi", "cgi/a"):
        os.chown(o.s.server.path(name), NOBODY.pw_uid, NOBODY.pw_gid)
    assert o.s.get("/cgi/a").status == 500
    o.s.await_log(path)
    # The same by a document root that is the beginning of its name.
    beside = o.s.server.path("htdocs2")
    os.mkdir(beside, 0o755)
    assert not o.s.notes()


def test_system_users_run_no_scripts(cgi):
    s = cgi('ScriptAlias "/own/" "{root}/htdocs/own/"\nSuexecUserGroup daemon daemon\n')
    path = s.sh("a", IDS, "htdocs/own")
    daemon = pwd.getpwnam("daemon")
    for name in (path, os.path.dirname(path)):
        os.chown(name, daemon.pw_uid, daemon.pw_gid)
    assert s.get("/own/a").status == 500
    s.await_log("SuexecUserGroup daemon daemon")


def test_root_is_an_error_of_the_configuration(make):
    for line in ("SuexecUserGroup root %s" % GROUP, "SuexecUserGroup #0 #%d" % NOBODY.pw_gid, "SuexecUserGroup nobody root",
                  "SuexecUserGroup no-such-user %s" % GROUP):
        result = make(line + "\n").run("-t")
        assert result.returncode != 0 and re.search(r"root|no-such-user", result.stderr), line


def test_each_server_has_its_own(owned):
    """By the request's virtual host; the main server's script is not the other's."""
    if not OTHER:
        pytest.skip("there is no second user")
    group = grp.getgrgid(OTHER.pw_gid).gr_name
    o = owned("""
<VirtualHost *:{port}>
    ServerName first.test
</VirtualHost>
<VirtualHost *:{port}>
    ServerName other.test
    DocumentRoot "{root}/other"
    ScriptAlias "/own/" "{root}/other/own/"
    SuexecUserGroup %s %s
    <Directory "{root}/other">
        Require all granted
    </Directory>
</VirtualHost>
""" % (OTHER.pw_name, group))
    o.sh("ids", IDS)
    path = o.s.sh("ids", IDS, "other/own")
    for name in (path, os.path.dirname(path)):
        os.chown(name, OTHER.pw_uid, OTHER.pw_gid)
    assert o.s.get("/own/ids", {"Host": "first.test"}).body.startswith(b"%d " % NOBODY.pw_uid)
    assert o.s.get("/own/ids", {"Host": "other.test"}).body.startswith(b"%d " % OTHER.pw_uid)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    assert o.s.get("/own/ids", {"Host": "other.test"}).status == 500


def test_limits_and_ends_hold_there_too(owned):
    """RLimit…, TERM to the other user's process group when its client leaves, KILL for who does not obey."""
    o = owned("RLimitCPU 77 78\n")
    o.sh("limit", "head; ulimit -t; ulimit -Ht\n")
    assert o.s.get("/own/limit").body == b"77\n78\n"
    run = o.s.path()
    o.sh("stays", "RUN='%s'\ntrap 'note term' TERM\n( trap '' TERM; exec sleep 1000 ) &\nnote $$ $!\n"
                  "while :; do sleep 1000 & wait; done\n" % run)
    c = o.s.ask("/own/stays")
    script, child = (int(word) for word in wait_until("it runs", o.s.notes)[0].split())
    assert os.stat("/proc/%d" % script).st_uid == NOBODY.pw_uid
    c.s.close()
    o.s.await_note("term")
    wait_until("both are gone", lambda: not is_alive(script) and not is_alive(child))


def test_the_clients_socket_is_the_scripts(owned):
    o = owned()
    o.sh("nph-a", 'printf "HTTP/1.1 299 Odd\\r\\n\\r\\n%s" "$(readlink /proc/$$/fd/1)"\n')
    c = o.s.ask("/own/nph-a")
    assert c.rest().startswith(b"HTTP/1.1 299 Odd\r\n\r\nsocket:[")


def test_suexec_off(owned):
    """Scripts run as the server's own user, and the start says so."""
    o = owned("Suexec Off\n")
    o.sh("ids", IDS)
    assert o.s.get("/own/ids").body.startswith(b"%d " % unprivileged().pw_uid)
    assert "SuexecUserGroup" in o.s.server.error_log() + o.s.server.output()
