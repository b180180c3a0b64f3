"""Servers with PHP inside, for the tests of mod_php; and Apache httpd with Debian's mod_php beside them."""
import glob
import os
import re
import socket

import pytest

import harness
from harness import MUSTER, MPM
from httpd import BASICS, PROGRAM, Httpd

MODULE = os.path.join(os.path.dirname(MUSTER), "modules", "mod_php.so")
DEBIANS = sorted(glob.glob("/usr/lib/apache2/modules/libphp8*.so"))

built = pytest.mark.skipif(not os.path.exists(MODULE), reason="mod_php.so was not built (libphp-embed, php-dev)")
prefork = pytest.mark.skipif(MPM != "prefork", reason="PHP in the server wants processes of one thread")
needs_apache = pytest.mark.skipif(not (PROGRAM and DEBIANS), reason="no apache2 with Debian's mod_php")

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


def apache(server, config=""):
    """Apache httpd, prefork, with Debian's mod_php, on the documents and the php.ini of a Server; not started."""
    return Httpd(server, "LogLevel info\nTypesConfig /etc/mime.types\nLoadModule php_module %s\nPHPINIDir \"{root}/conf\"\n"
                 "MinSpareServers 1\nMaxSpareServers 2\n%s%s" % (DEBIANS[-1], BY_NAME, config),
                 BASICS + ("mime",), env={"PHP_INI_SCAN_DIR": ""})


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
