"""The command line: httpd's options, what they print and where, and their exit statuses."""
import os
import re
import signal
import subprocess

import harness
import pytest

BARE = """\
{load_mpm}
ServerRoot "{root}"
ServerName localhost
{listen}
PidFile "{root}/logs/muster.pid"
ErrorLog "{root}/logs/error.log"
{identity}
{config}
"""
NO_CONFIG = ("-f", "/nonexistent/httpd.conf")


def run(*args, **kwargs):
    """muster with these arguments alone."""
    return subprocess.run([harness.MUSTER, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=harness.PATIENCE, **kwargs)


# Answers that need no configuration


@pytest.mark.parametrize("args", [("-v",), ("-v", *NO_CONFIG), (*NO_CONFIG, "-v"), ("-v", "junk"), ("--version",)])
def test_version(args):
    r = run(*args)
    assert (r.returncode, r.stderr) == (0, "")
    lines = r.stdout.splitlines()
    assert re.fullmatch(r"Server version: Muster/\d+\.\d+\.\d+ \(compatible; Apache/2\.4\.71\)", lines[0])
    assert re.fullmatch(r"Server built:   \S.*", lines[1])
    assert len(lines) == 2


def test_compiled_in_modules():
    r = run(*NO_CONFIG, "-l")
    assert (r.returncode, r.stderr) == (0, "")
    lines = r.stdout.splitlines()
    assert lines[:5] == ["Compiled in modules:", "  core.c", "  mod_so.c", "  mod_watchdog.c", "  http_core.c"]
    assert {"  mod_alias.c", "  mod_dir.c", "  mod_mime.c", "  mod_log_config.c", "  mod_unixd.c"} < set(lines)
    assert all(re.fullmatch(r"  \w+\.c", line) for line in lines[1:])
    assert len(set(lines)) == len(lines)


def test_an_installation_can_switch_every_built_in_module():
    """One LoadModule line, and the modules without one are off: what `make install` enables has to name them all."""
    always = {"so", "watchdog", "log_config", "logio", "version", "unixd", "app", "pool"}
    built_in = {m[1] for m in re.finditer(r"^  mod_(\w+)\.c$", run("-l").stdout, re.M)} - always
    folder = os.path.join(harness.TOP, "examples", "conf", "mods-available")
    assert built_in <= {f[:-len(".load")] for f in os.listdir(folder)}
    for name in built_in:
        with open(os.path.join(folder, name + ".load")) as f:
            assert "LoadModule %s_module modules/mod_%s.so\n" % (name, name) in f.read()


def test_compiled_in_mpm_agrees_with_the_loaded_one(make):
    listed = run("-l").stdout.splitlines()
    loaded = make().run("-M").stdout.splitlines()
    if "  %s.c" % harness.MPM in listed:
        assert " mpm_%s_module (static)" % harness.MPM in loaded
    else:
        assert " mpm_%s_module (shared)" % harness.MPM in loaded


def check_usage(text, name=harness.MUSTER):
    assert "Usage: %s [-D name] [-d directory] [-f file]" % name in text
    for option in "DdfCckeEvVhlLtTSMX":
        assert re.search(r"^  (-t )?-%s\b|^  -t -D DUMP" % option, text, re.M), option


def test_usage():
    r = run("-h")
    assert (r.returncode, r.stdout) == (1, "")
    check_usage(r.stderr)
    r = run("--help")
    assert (r.returncode, r.stderr) == (0, "")
    check_usage(r.stdout)


@pytest.mark.parametrize("args,word", [
    (("-Z",), "illegal option -- Z"),
    (("-tZ",), "illegal option -- Z"),
    (("--nonsense",), "illegal option -- -"),
    (("-D",), "requires an argument -- D"),
    (("-k",), "requires an argument -- k"),
    (("-k", "reload"), "-k reload"),
    (("-k", "start", "-k", "stop"), "one -k"),
    (("-e", "loud"), "-e loud"),
    (("start",), "start"),
    (("-t", "junk"), "junk"),
])
def test_wrong_command_lines(args, word):
    r = run(*args)
    assert (r.returncode, r.stdout) == (1, "")
    assert word in r.stderr.splitlines()[0]
    check_usage(r.stderr)


# -V


def test_settings(make):
    r = make().run("-V")
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout.startswith("Server version: Muster/")
    assert re.search(r"^Server MPM:     %s$" % harness.MPM, r.stdout, re.M)
    threaded = re.search(r"^  threaded:     (\w+)", r.stdout, re.M)[1]
    assert threaded == ("no" if harness.MPM == "prefork" else "yes")
    assert re.search(r"^    forked:     yes \(variable process count\)$", r.stdout, re.M)
    for name in ("HTTPD_ROOT", "SERVER_CONFIG_FILE", "DEFAULT_PIDLOG", "DEFAULT_ERRORLOG", "AP_TYPES_CONFIG_FILE"):
        assert re.search(r'^ -D %s="[^"]+"$' % name, r.stdout, re.M), name


def test_settings_of_a_broken_configuration(make):
    s = make("NoSuchDirective on\n")
    good, broken = make().run("-V").stdout, s.run("-V")
    assert broken.returncode == 1
    assert "NoSuchDirective" in broken.stderr
    assert re.search(r"^Server MPM:     $", broken.stdout, re.M)
    rest = [line for line in good.splitlines() if not re.match(r"Server MPM|  threaded|    forked", line)]
    assert [line for line in broken.stdout.splitlines() if not line.startswith("Server MPM")] == rest


# -t and what configurations are made of


def test_syntax_ok(make):
    r = make().run("-t")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "Syntax OK\n")


def test_all_errors_with_file_and_line(make):
    s = make("Lisen 80\nKeepAlive perhaps\n")
    first = open(s.path("conf/httpd.conf")).read().splitlines().index("Lisen 80") + 1
    r = s.run("-t")
    assert (r.returncode, r.stdout) == (1, "")
    for line in (first, first + 1):
        assert "Syntax error on line %d of %s:" % (line, s.path("conf/httpd.conf")) in r.stderr
    assert "Invalid command 'Lisen'" in r.stderr
    assert "Syntax OK" not in r.stderr


def test_missing_configuration_file():
    r = run("-t", *NO_CONFIG)
    assert (r.returncode, r.stdout) == (1, "")
    assert r.stderr == "muster: Could not open configuration file /nonexistent/httpd.conf: No such file or directory\n"


def test_missing_configuration_file_that_nobody_named(tmp_path):
    r = run("-t", "-d", str(tmp_path))
    assert (r.returncode, r.stdout) == (1, "")
    assert "%s/conf/muster.conf" % tmp_path in r.stderr and "httpd.conf" in r.stderr


@pytest.mark.parametrize("form", ["-DSWITCH", "-D SWITCH", "-tDSWITCH"])
def test_define(make, form):
    s = make("<IfDefine SWITCH>\nNoSuchDirective\n</IfDefine>\n")
    assert s.run("-t").returncode == 0
    assert s.run("-t", *form.split()).returncode == 1


def test_lines_before_and_after(make):
    s = make("<IfDefine BEFORE>\nDefine SAW_BEFORE\n</IfDefine>\n<IfDefine AFTER>\nDefine SAW_AFTER\n</IfDefine>\n")
    r = s.run("-C", "Define BEFORE", "-cDefine AFTER", "-t", "-D", "DUMP_RUN_CFG")
    assert r.returncode == 0
    assert "Define: SAW_BEFORE\n" in r.stdout
    assert "Define: AFTER\n" in r.stdout
    assert "SAW_AFTER" not in r.stdout


@pytest.mark.parametrize("option", ["-C", "-c"])
def test_error_in_a_line_of_the_command_line(make, option):
    r = make().run("-t", option, "NoSuchDirective")
    assert r.returncode == 1
    assert "-C/-c directive" in r.stderr and "NoSuchDirective" in r.stderr


def test_server_root_and_relative_file(make):
    s = make(template=BARE.replace('ServerRoot "{root}"\n', ""))
    r = run("-d", s.root, "-f", "conf/httpd.conf", "-t", "-DDUMP_RUN_CFG")
    assert r.returncode == 0, r.stderr
    assert 'ServerRoot: "%s"\n' % s.root in r.stdout
    r = run("-d" + s.root, "-t")  # conf/httpd.conf is found by itself
    assert (r.returncode, r.stderr) == (0, "Syntax OK\n")


def test_document_root_must_be_there(make):
    s = make('DocumentRoot "{root}/nowhere"\n', template=BARE)
    line = open(s.path("conf/httpd.conf")).read().count("\n", 0, -1)
    r = s.run("-t")
    assert r.returncode == 1
    assert "%s:%d: DocumentRoot '%s' is not a directory" % (s.path("conf/httpd.conf"), line, s.path("nowhere")) in r.stderr
    r = s.run("-T", "-t")
    assert (r.returncode, r.stderr) == (0, "Syntax OK\n")


def test_document_root_of_a_virtual_host(make):
    s = make('<VirtualHost *>\nServerName a\nDocumentRoot "{root}/htdocs"\n</VirtualHost>\n'
             '<VirtualHost *>\nServerName b\nDocumentRoot "{root}/gone"\n</VirtualHost>\n', template=BARE)
    r = s.run("-t")
    assert (r.returncode, r.stderr.count("warning")) == (0, 1)
    assert "DocumentRoot '%s' does not exist\n" % s.path("gone") in r.stderr


def test_folders_of_logs_must_be_there(make):
    s = make('<VirtualHost *>\nServerName a\nErrorLog "{root}/gone/error"\n</VirtualHost>\n'
             'CustomLog "{root}/gone/access" "%h"\nCustomLog "|/bin/cat /gone" "%h"\n', template=BARE)
    r = s.run("-t")
    assert r.returncode == 1
    assert r.stderr.count("cannot access directory '%s' for log file" % s.path("gone")) == 2
    os.mkdir(s.path("gone"))
    assert s.run("-t").returncode == 0


@pytest.mark.parametrize("line, said", [
    ('LogFormat "%h %Q" unused', "there is no format item %Q"),
    ('LogFormat "%{Referer"', "a '{' without its '}'"),
    ('ErrorLogFormat "%M %Z"', 'unknown item "%Z"'),
    ('ErrorLogFormat "[%t]"', "must hold the message, %M"),
    ("LogLevel warn nonesuch:debug", "found 'nonesuch:debug', but no module of that name is on"),
    ('CustomLog logs/a "%h %Q"', "there is no format item %Q"),
    ("Options Index", "found 'Index', allowed are Indexes, Includes, IncludesNOEXEC, FollowSymLinks, "),
    ('<Location "/a">\nAlias "/srv/$1"\n</Location>', "expressions are not in this version"),
    ('<Location "/a">\nRedirect "/%{HTTP_HOST}"\n</Location>', "expressions are not in this version"),
    ('SetHandler "%{ENV:x}"', "expressions are not in this version"),
    ("Options +All", "found '+All', but None and All stand without"),
])
def test_formats_and_words_are_checked_where_they_stand(make, line, said):
    s = make(line + "\n", template=BARE)
    with open(s.path("conf/httpd.conf")) as f:
        number = f.read().split(line)[0].count("\n") + 1 + line.startswith("<")
    r = s.run("-t")
    assert r.returncode == 1
    assert r.stderr.startswith("muster: Syntax error on line %d of %s:\n" % (number, s.path("conf/httpd.conf"))), r.stderr
    assert said in r.stderr


def test_log_levels_of_modules_by_all_their_names(make):
    s = make("LoadModule cgid_module modules/mod_cgid.so\nLoadModule authz_core_module modules/mod_authz_core.so\n"
             "LogLevel warn cgid:debug cgi:info core:info mod_unixd.c:debug spawn:debug mpm_%s:info\n" % harness.MPM,
             template=BARE)
    assert s.run("-t").returncode == 0, s.run("-t").stderr


def test_useless_allow_override_is_a_warning(make):
    r = make("<Location />\nAllowOverride None\n</Location>\n", template=BARE).run("-t")
    assert r.returncode == 0
    assert "AllowOverride has no effect in <Location>" in r.stderr


def test_missing_server_name_is_a_warning(make):
    s = make(template=BARE.replace("ServerName localhost\n", ""))
    r = s.run("-t")
    assert r.returncode == 0
    assert "ServerName" in r.stderr and r.stderr.endswith("Syntax OK\n")
    assert s.run("-t", "-e", "error").stderr == "Syntax OK\n"


def test_startup_messages_to_a_file(make):
    s = make("NoSuchDirective\n")
    r = s.run("-E", "logs/startup.log", "-t")
    assert (r.returncode, r.stdout, r.stderr) == (1, "", "")
    with open(s.path("logs/startup.log")) as f:
        assert "NoSuchDirective" in f.read()


def test_startup_messages_to_a_file_that_cannot_be_opened(make):
    r = make().run("-E", "/nonexistent/startup.log", "-t")
    assert r.returncode == 0
    assert "/nonexistent/startup.log" in r.stderr and "Syntax OK" in r.stderr


def test_debug_messages(make):
    s = make()
    assert "debug" not in s.run("-t").stderr
    assert "debug: read %s" % s.path("conf/httpd.conf") in s.run("-t", "-e", "debug").stderr


# -S, -M and -D DUMP_…

HOSTS = """\
Define WITH value
Define WITHOUT
<VirtualHost *:8081>
    ServerName a.example
    ServerAlias b.example *.c.example
</VirtualHost>
<VirtualHost *:8081>
    ServerName d.example
</VirtualHost>
<VirtualHost 127.0.0.2:8081>
    ServerName e.example
</VirtualHost>
<VirtualHost [::1]:8081>
    ServerName g.example
</VirtualHost>
<VirtualHost *>
    ServerName f.example
</VirtualHost>
"""


def line_of(s, text):
    with open(s.path("conf/httpd.conf")) as f:
        return f.read().split(text)[0].count("\n")


def test_virtual_hosts(make):
    s = make(HOSTS)
    conf = s.path("conf/httpd.conf")
    at = {name: "(%s:%d)" % (conf, line_of(s, "ServerName " + name)) for name in
          ("a.example", "d.example", "e.example", "f.example", "g.example")}
    r = s.run("-t", "-D", "DUMP_VHOSTS")
    assert (r.returncode, r.stderr) == (0, "")
    lines = r.stdout.splitlines()
    assert lines[0] == "VirtualHost configuration:"
    assert sorted(lines[1:3]) == ["127.0.0.2:8081         e.example " + at["e.example"],
                                  "[::1]:8081             g.example " + at["g.example"]]
    assert lines[3:] == [
        "*:8081                 is a NameVirtualHost",
        "         default server a.example " + at["a.example"],
        "         port 8081 namevhost a.example " + at["a.example"],
        "                 alias b.example",
        "                 wild alias *.c.example",
        "         port 8081 namevhost d.example " + at["d.example"],
        "*:*                    f.example " + at["f.example"],
    ]


def test_run_settings(make):
    s = make(HOSTS)
    r = s.run("-S")
    assert (r.returncode, r.stderr) == (0, "")
    lines = r.stdout.splitlines()
    lines = lines[lines.index('ServerRoot: "%s"' % s.root):]
    assert lines[1:3] == ['Main DocumentRoot: "%s/htdocs"' % s.root, 'Main ErrorLog: "%s/logs/error.log"' % s.root]
    assert all(re.fullmatch(r'Mutex [\w-]+: (using_defaults|dir="[^"]*" mechanism=\w+ ?)', line) for line in lines[3:5])
    assert lines[5] == 'PidFile: "%s/logs/muster.pid"' % s.root
    assert lines[6:10] == ["Define: DUMP_VHOSTS", "Define: DUMP_RUN_CFG", "Define: WITH=value", "Define: WITHOUT"]
    user = harness.unprivileged()
    if user:
        assert lines[10] == 'User: name="%s" id=%d' % (user.pw_name, user.pw_uid)
        assert re.fullmatch(r'Group: name="[\w-]+" id=%d' % user.pw_gid, lines[11])


def test_vhosts_and_run_settings_are_S(make):
    s = make(HOSTS)
    assert s.run("-S").stdout == s.run("-t", "-D", "DUMP_VHOSTS", "-D", "DUMP_RUN_CFG").stdout


def test_loaded_modules(make):
    s = make("LoadModule alias_module modules/mod_alias.so\nLoadModule authz_core_module modules/mod_authz_core.so\n")
    r = s.run("-M")
    assert (r.returncode, r.stderr) == (0, "")
    lines = r.stdout.splitlines()
    assert lines[:9] == ["Loaded Modules:", " core_module (static)", " so_module (static)", " watchdog_module (static)",
                         " http_module (static)", " log_config_module (static)", " logio_module (static)",
                         " version_module (static)", " unixd_module (static)"]
    assert " alias_module (static)" in lines
    assert " dir_module (static)" not in lines
    assert s.run("-t", "-D", "DUMP_MODULES").stdout == r.stdout


def test_mpm_whose_path_is_another_servers_module(make):
    """Debian's mods-available names httpd's own file: Muster's of that name is taken."""
    s = make('LoadModule mpm_%s_module "{root}/conf/mod_mpm_%s.so"\n' % (harness.MPM, harness.MPM), mpm="")
    s.write("conf/mod_mpm_%s.so" % harness.MPM, b"\x7fELF mpm_%s_module" % harness.MPM.encode())
    r = s.run("-M")
    assert (r.returncode, r.stderr) == (0, "")
    assert " mpm_%s_module (" % harness.MPM in r.stdout


def test_dumps_start_nothing_and_report_errors(make):
    s = make("NoSuchDirective\n")
    for args in (("-S",), ("-M",), ("-D", "DUMP_VHOSTS"), ("-D", "DUMP_INCLUDES"), ("-L",)):
        r = s.run(*args)
        assert r.returncode == 1 and "NoSuchDirective" in r.stderr, args
    s.configure("")
    for args in (("-S",), ("-M",), ("-D", "DUMP_VHOSTS"), ("-D", "DUMP_INCLUDES"), ("-D", "DUMP_CONFIG"), ("-L",)):
        r = s.run(*args)
        assert (r.returncode, r.stderr) == (0, "") and r.stdout, args
        assert not os.path.exists(s.path("logs/muster.pid"))


def test_includes(make):
    s = make("Include conf/extra/*.conf\n")
    s.write("conf/extra/b.conf", "ServerAdmin b@example.org\n")
    s.write("conf/extra/a.conf", "\nInclude conf/extra/b.conf\n")
    r = s.run("-t", "-D", "DUMP_INCLUDES")
    assert (r.returncode, r.stderr) == (0, "Syntax OK\n")
    line = line_of(s, "Include conf/extra") + 1
    assert r.stdout.splitlines() == [
        "Included configuration files:",
        "  (*) " + s.path("conf/httpd.conf"),
        "    (%d) %s" % (line, s.path("conf/extra/a.conf")),
        "      (2) " + s.path("conf/extra/b.conf"),
        "    (%d) %s" % (line, s.path("conf/extra/b.conf")),
    ]


def test_configuration_in_force(make):
    s = make('<IfDefine !NO>\n<Directory "/srv">\n<Files a>\nRequire  all denied\n</Files>\n</Directory>\n</IfDefine>\n')
    r = s.run("-t", "-D", "DUMP_CONFIG")
    assert r.returncode == 0
    line = line_of(s, '<Directory "/srv">') + 1
    assert r.stdout.endswith('# %3d:\n<Directory "/srv">\n  # %3d:\n  <Files a>\n    # %3d:\n    Require all denied\n'
                             '  </Files>\n</Directory>\n' % (line, line + 1, line + 2)), r.stdout
    assert r.stdout.startswith("# In file: %s\n" % s.path("conf/httpd.conf"))


def test_directives(make):
    r = make().run("-L")
    assert (r.returncode, r.stderr) == (0, "")
    assert re.search(r"^DocumentRoot \(core\.c\)\n\t\S.*\n\tAllowed in \*\.conf ", r.stdout, re.M)
    assert re.search(r"^DirectoryIndex \(mod_dir\.c\)$", r.stdout, re.M)
    assert re.search(r"^MaxConnectionsPerChild \(%s\.c\)$" % harness.MPM, r.stdout, re.M)


def test_directives_without_a_configuration():
    r = run("-L", *NO_CONFIG)
    assert r.returncode == 1 and "Could not open" in r.stderr
    assert re.search(r"^DirectoryIndex \(mod_dir\.c\)$", r.stdout, re.M)


# -X


def test_one_process(make):
    s = make()
    user = harness.unprivileged()
    if user:  # the one process gives up root, and removes its PidFile in the end
        os.chown(s.path("logs"), user.pw_uid, user.pw_gid)
    with open(s.path("logs/stderr"), "ab") as err:
        s.process = subprocess.Popen(s.command("-X"), stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                     start_new_session=True)
    s.session = s.pid = s.process.pid
    harness.wait_until("it starts", s._has_started)
    assert s.get("/").status == 200
    # the helper that starts scripts serves nobody; it gives itself its name after its fork
    harness.wait_until("the helper has its name", lambda: [p.status()["Name"] for p in s.children()] == ["muster-cgi"])
    assert len(s.family()) == 2
    assert s.stop(signal.SIGTERM) == 0
