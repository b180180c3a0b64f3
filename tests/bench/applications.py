"""The servers that run an application: PHP through FastCGI, in a pool or inside, and a CGI program.

Each has an application of its own: a php-fpm, or processes and programs that it starts itself. Two figures are taken: what
the web server's own processes used, and what all used together. Everything runs on the server's core and belongs to a
control group, if there can be one; otherwise the sum of the process trees is taken, without what nobody waited for.
"""
import os
import signal
import socket
import subprocess
import time

import cpu
from servers import Apache, Lighttpd, Missing, Muster, Nginx, unprivileged

FPM, PHP_CGI = "/usr/sbin/php-fpm8.2", "/usr/bin/php-cgi8.2"
APACHE_PHP = "/usr/lib/apache2/modules/libphp8.2.so"
PROCESSES = 4
HELLO = b"Hello, World!\n"
PHP_INI = """\
zend_extension = opcache
opcache.enable = 1
session.save_path = "@RUN@"
"""
FPM_CONF = """\
[global]
error_log = @RUN@/fpm.log
daemonize = no
[www]
@USER@
listen = @RUN@/php.sock
listen.backlog = 1024
pm = static
pm.max_children = %d
""" % PROCESSES


def need(path):
    if not os.access(path, os.R_OK):
        raise Missing("%s is not installed (tools/setup bench)" % path)


class WithApplication:
    """Before a class of servers.py: starts what runs beside it, and counts apart."""
    needs = ()

    def program(self):
        for path in self.needs:
            need(path)
        return super().program()

    def start(self):
        self.group = cpu.Group("muster-bench-%d-%d" % (os.getpid(), self.port))
        self.run = self.env.make_run_folder(self.title)
        super().start()

    def write(self, name, text):
        user = unprivileged()
        identity = "user = %s\ngroup = %s\nlisten.owner = %s" % (*user, user[0]) if user else ""
        with open(os.path.join(self.run, name), "w", encoding="utf-8") as f:
            f.write(text.replace("@RUN@", self.run).replace("@USER@", identity))

    def write_conf(self):
        os.chmod(self.run, 0o755)  # a pool has a user of its own, who reads php.ini too
        self.write("php.ini", PHP_INI)
        self.beside()
        return super().write_conf()

    def beside(self):
        """Start what the server does not start itself."""

    def prepare(self):
        super().prepare()
        self.group.enter()

    def command_env(self):
        return {**os.environ, "PHP_INI_SCAN_DIR": ""}

    def cpu_ns(self):
        return cpu.own_ns(self.process.pid, self.program())

    def all_ns(self):
        if self.group.is_there:
            return self.group.ns()
        return cpu.tree_ns(self.process.pid) + (cpu.tree_ns(self.app.pid) if self.app else 0)

    def stop(self):
        super().stop()
        if self.app:
            self.app.send_signal(signal.SIGTERM)
            self.app.wait()
            self.app = None
        if self.process is None and getattr(self, "group", None):
            self.group.remove()


class WithFpm(WithApplication):
    """A php-fpm of its own."""
    needs = (FPM,)

    def beside(self):
        self.write("fpm.conf", FPM_CONF)
        with open(os.path.join(self.run, "fpm.out"), "wb") as out:
            self.app = subprocess.Popen(
                [FPM, "-F", "-c", os.path.join(self.run, "php.ini"), "-y", os.path.join(self.run, "fpm.conf")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.command_env(), start_new_session=True,
                preexec_fn=self.prepare)
        self.wait_for_socket()

    def wait_for_socket(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.app.poll() is None:
            with socket.socket(socket.AF_UNIX) as s:
                if s.connect_ex(os.path.join(self.run, "php.sock")) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("%s: php-fpm does not accept (%s/fpm.out)" % (self.title, self.run))

    def socket_path(self):
        return os.path.join(self.run, "php.sock")


# Each way's lines, as their own manuals have them.
HTTPD_FPM = """
<FilesMatch "\\.php$">
    SetHandler "proxy:unix:%s|fcgi://localhost"
</FilesMatch>
"""
HTTPD_MOD_PHP = """
PHPIniDir "%s"
<FilesMatch "\\.php$">
    SetHandler application/x-httpd-php
</FilesMatch>
"""
MUSTER_POOL = """
<ApplicationPool php>
    Command %s -c %s/php.ini
    Environment PHP_INI_SCAN_DIR=
    %s
    ProcessManager static
    MaxChildren %d
</ApplicationPool>
<FilesMatch "\\.php$">
    SetHandler "pool:php"
</FilesMatch>
"""
HTTPD_CGI = """
ScriptAlias "/cgi/" "%s/"
<Directory "%s">
    Require all granted
</Directory>
"""
NGINX_FPM = """location ~ \\.php$ {
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_pass unix:%s;
        }"""
LIGHTTPD_FPM = """
server.modules += ( "mod_fastcgi" )
fastcgi.server = ( ".php" => (( "socket" => "%s" )) )
"""
LIGHTTPD_CGI = """
server.modules += ( "mod_alias", "mod_cgi" )
alias.url = ( "/cgi/" => "%s/" )
$HTTP["url"] =~ "^/cgi/" { cgi.assign = ( "" => "" ) }
"""


def load(modules, names):
    return "\n".join("LoadModule %s_module %s/mod_%s.so" % (name, modules, name) for name in names)


class HttpdFpm(WithFpm):
    def values(self):
        return {**super().values(), "APP": HTTPD_FPM % self.socket_path(),
                "APP_MODULES": load(self.modules, ("proxy", "proxy_fcgi"))}


class HttpdModPhp(WithApplication):
    library = None

    def values(self):
        return {**super().values(), "APP": HTTPD_MOD_PHP % self.run,
                "APP_MODULES": "LoadModule php_module " + self.library}

    def cpu_ns(self):
        """PHP is the server's own here."""
        return self.all_ns()


class HttpdCgi(WithApplication):
    cgi_module = None

    def values(self):
        folder = self.env.cgi_folder
        return {**super().values(), "APP": HTTPD_CGI % (folder, folder),
                "APP_MODULES": load(self.modules, ("alias", self.cgi_module))}


class MusterFpm(HttpdFpm, Muster):
    mpm, title = "event", "Muster event, php-fpm"


class MusterPool(WithApplication, Muster):
    mpm, title = "event", "Muster event, pool"
    needs = (PHP_CGI,)

    def values(self):
        user = "User nobody" if unprivileged() else ""
        return {**super().values(), "APP": MUSTER_POOL % (PHP_CGI, self.run, user, PROCESSES),
                "APP_MODULES": load(self.modules, ("pool",))}


class MusterModPhp(HttpdModPhp, Muster):
    mpm, title = "prefork", "Muster prefork, mod_php"
    library = "modules/mod_php.so"

    def program(self):
        need(os.path.join(self.env.build, "modules", "mod_php.so"))
        return super().program()


class MusterCgi(HttpdCgi, Muster):
    mpm, title, cgi_module = "event", "Muster event, CGI", "cgid"


class MusterPreforkCgi(HttpdCgi, Muster):
    mpm, title, cgi_module = "prefork", "Muster prefork, CGI", "cgi"


class ApacheFpm(HttpdFpm, Apache):
    mpm, title = "event", "Apache event, php-fpm"


class ApacheModPhp(HttpdModPhp, Apache):
    mpm, title = "prefork", "Apache prefork, mod_php"
    library, needs = APACHE_PHP, (APACHE_PHP,)


class ApacheCgi(HttpdCgi, Apache):
    mpm, title, cgi_module = "event", "Apache event, CGI", "cgid"

    def values(self):
        values = super().values()
        return {**values, "APP": values["APP"] + 'ScriptSock "%s/cgisock"\n' % self.run}


class ApachePreforkCgi(HttpdCgi, Apache):
    mpm, title, cgi_module = "prefork", "Apache prefork, CGI", "cgi"


class NginxFpm(WithFpm, Nginx):
    title = "nginx, php-fpm"

    def values(self):
        return {**super().values(), "APP": NGINX_FPM % self.socket_path()}


class LighttpdFpm(WithFpm, Lighttpd):
    title = "lighttpd, php-fpm"

    def values(self):
        return {**super().values(), "APP": LIGHTTPD_FPM % self.socket_path()}


class LighttpdCgi(WithApplication, Lighttpd):
    title = "lighttpd, CGI"

    def values(self):
        return {**super().values(), "APP": LIGHTTPD_CGI % self.env.cgi_folder}


PHP = [MusterFpm, NginxFpm, ApacheFpm, LighttpdFpm, MusterPool, MusterModPhp, ApacheModPhp]
CGI = [MusterCgi, ApacheCgi, LighttpdCgi, MusterPreforkCgi, ApachePreforkCgi]


def write_programs(env, hello_c):
    """What is run: hello.php in the document root, and the CGI program beside it."""
    with open(os.path.join(env.docroot, "hello.php"), "w", encoding="ascii") as f:
        f.write("<?php echo \"%s\\n\";\n" % HELLO.decode().strip())
    env.cgi_folder = os.path.join(env.base, "cgi")
    os.makedirs(env.cgi_folder)
    subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-static", "-o", os.path.join(env.cgi_folder, "hello"), hello_c],
                   check=True)
