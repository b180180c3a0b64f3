"""Servers with PHP inside, for the tests of mod_php; and Apache httpd with Debian's mod_php beside them."""
import contextlib
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import harness
from harness import MUSTER, MPM, unprivileged, wait_until

MODULE = os.path.join(os.path.dirname(MUSTER), "modules", "mod_php.so")
DEBIANS = sorted(glob.glob("/usr/lib/apache2/modules/libphp8*.so"))
APACHE = shutil.which("apache2", path=os.environ.get("PATH", "") + ":/usr/sbin")

built = pytest.mark.skipif(not os.path.exists(MODULE), reason="mod_php.so was not built (libphp-embed, php-dev)")
prefork = pytest.mark.skipif(MPM != "prefork", reason="PHP in the server wants processes of one thread")
needs_apache = pytest.mark.skipif(not (APACHE and DEBIANS), reason="no apache2 with Debian's mod_php")

BY_NAME = '<FilesMatch ".+\\.ph(?:ar|p|tml)$">\n    SetHandler application/x-httpd-php\n</FilesMatch>\n'
LOAD = "LoadModule php_module modules/mod_php.so\nPHPINIDir \"{root}/conf\"\n" + BY_NAME
# One child, so that a state which a request left behind would meet the next one.
ONE_CHILD = "StartServers 1\nMinSpareServers 1\nMaxSpareServers 2\nServerLimit 1\nMaxRequestWorkers 1\n"
EXTENSIONS = ("posix", "ctype", "sysvshm")


def ini_text(folder, opcache, settings):
    """A php.ini; keys with __ for the dot."""
    values = {"session.save_path": folder, "upload_tmp_dir": folder, "sys_temp_dir": folder, "date.timezone": "UTC",
              "display_errors": "0", "log_errors": "1", "html_errors": "0", "output_buffering": "4096",
              "variables_order": "GPCS", "error_reporting": "32767", "opcache.enable": int(opcache),
              "max_execution_time": "600", "opcache.revalidate_freq": "0", "opcache.file_update_protection": "0"}
    values.update({name.replace("__", "."): value for name, value in settings.items()})
    lines = ["zend_extension = opcache"] if opcache else []
    lines += ["extension = " + name for name in EXTENSIONS]
    return "\n".join(lines + ['%s = "%s"' % item for item in values.items()]) + "\n"


def sanitizer_env(options):
    """Options for the sanitizers of a sanitized server, beside those that are set already."""
    return {name: ":".join(filter(None, [os.environ.get(name), options])) for name in ("ASAN_OPTIONS", "TSAN_OPTIONS")}


# A crash is to be the kernel's, and no finding.
MAY_CRASH = sanitizer_env("handle_segv=0")
# What is freed is given back at once, so that memory can be counted; PHP's own pools are none, so that leaks are seen.
FRUGAL = {**sanitizer_env("quarantine_size_mb=0:thread_local_quarantine_size_kb=0"), "USE_ZEND_ALLOC": "0"}


def prepare(make, config="", files=None, opcache=True, load=LOAD, env=None, **settings):
    """A Server that is not started; a script is what follows <?php."""
    scripts = {name: "<?php " + text if name.endswith(".php") and not text.startswith("<") else text
               for name, text in (files or {}).items()}
    server = make(load + config, files=scripts, mpm="prefork", env={"PHP_INI_SCAN_DIR": "", **(env or {})})
    os.mkdir(server.path("tmp"))
    os.chmod(server.path("tmp"), 0o1777)
    server.write("conf/php.ini", ini_text(server.path("tmp"), opcache, settings))
    return server


class Apache:
    """Apache httpd, prefork, with Debian's mod_php, on the documents and the php.ini of a Server."""

    CONFIG = """
ServerRoot "{root}"
{loads}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{root}/pid"
ErrorLog "{root}/error.log"
LogLevel info
{identity}
TypesConfig /etc/mime.types
DocumentRoot "{docs}"
PHPINIDir "{ini}"
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{docs}">
    Require all granted
</Directory>
StartServers 1
MinSpareServers 1
MaxSpareServers 2
"""
    MODULES = ("mpm_prefork", "authz_core", "alias", "dir", "mime", "env")

    def __init__(self, server, config=""):
        self.root = tempfile.mkdtemp(prefix="muster-apache-", dir="/tmp")
        self.port = harness.free_ports(1)[0]
        user = unprivileged()
        folder = os.path.dirname(DEBIANS[-1])
        loads = ["LoadModule %s_module %s/mod_%s.so" % (name, folder, name) for name in self.MODULES]
        loads.append("LoadModule php_module " + DEBIANS[-1])
        text = harness.Server._fill(self.CONFIG, {
            "root": self.root, "loads": "\n".join(loads), "port": self.port, "docs": server.path("htdocs"),
            "ini": server.path("conf"), "identity": "User %s\nGroup #%d" % (user.pw_name, user.pw_gid) if user else ""})
        with open(self.root + "/httpd.conf", "w", encoding="utf-8") as f:
            f.write(text + BY_NAME + harness.Server._fill(config, {"root": server.root}))
        with open(self.root + "/output", "wb") as out:
            self.process = subprocess.Popen([APACHE, "-f", self.root + "/httpd.conf", "-DFOREGROUND"],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                            env={**os.environ, "PHP_INI_SCAN_DIR": ""})
        wait_until("apache2 accepts", self._accepts)

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
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)


def exchange(port, request):
    """Send bytes in which PORT is the server's own, and return all it says until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE) as s:
        s.sendall(request.replace(b"PORT", b"%d" % port))
        answer = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return answer.replace(b"%d" % port, b"PORT")
            answer += piece


def php_errors(log):
    """(level, text) of what PHP has logged, as both servers write it."""
    lines = re.findall(r"\[php:(\w+)\] \[pid [^]]*\] (?:\[client [^]]*\] )?(?:MU\d+: )?(.*)", log)
    return [(level, text.replace("\\n", "\n")) for level, text in lines]
