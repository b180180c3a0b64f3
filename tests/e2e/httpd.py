"""Apache httpd beside the server, with the same documents and lines of configuration: to ask it what it does."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import harness
from harness import unprivileged, wait_until

PROGRAM = shutil.which("apache2", path=os.environ.get("PATH", "") + ":/usr/sbin")
MODULES = "/usr/lib/apache2/modules"
BASICS = ("mpm_prefork", "authz_core", "alias", "dir", "env")
needs_httpd = pytest.mark.skipif(not (PROGRAM and os.path.exists(MODULES + "/mod_proxy_fcgi.so")), reason="no apache2 here")
CONFIG = """
ServerRoot "{root}"
{loads}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{root}/pid"
ErrorLog "{root}/error.log"
{identity}
DocumentRoot "{docs}"
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{docs}">
    Require all granted
</Directory>
StartServers 1
{config}
"""


class Httpd:
    """Started by the fixture `beside`: Httpd(server, config, modules). The same lines are in the server's own configuration."""

    def __init__(self, server, config, modules, env=None):
        self.root = tempfile.mkdtemp(prefix="muster-apache-", dir="/tmp")
        self.port = harness.free_ports(1)[0]
        user = unprivileged()
        text = harness.Server._fill(CONFIG, {
            "root": self.root, "port": self.port, "docs": server.path("htdocs"),
            "config": harness.Server._fill(config, {"root": server.root}),
            "loads": "\n".join("LoadModule %s_module %s/mod_%s.so" % (name, MODULES, name) for name in modules),
            "identity": "User %s\nGroup #%d" % (user.pw_name, user.pw_gid) if user else ""})
        with open(self.root + "/httpd.conf", "w", encoding="utf-8") as f:
            f.write(text)
        self.env = {**os.environ, **(env or {})}
        self.process = None

    def start(self):
        with open(self.root + "/output", "wb") as out:
            self.process = subprocess.Popen([PROGRAM, "-f", self.root + "/httpd.conf", "-DFOREGROUND"], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, start_new_session=True, env=self.env)
        wait_until("apache2 accepts", self._accepts)
        return self

    def _accepts(self):
        assert self.process.poll() is None, "apache2 ended:\n" + open(self.root + "/output").read()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False

    def error_log(self):
        with open(self.root + "/error.log", errors="replace") as f:
            return f.read()

    def stop(self):
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)
