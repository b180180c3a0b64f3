"""DokuWiki from Debian's package, copied into a folder of its own, and a browser that does not run scripts for it.

The package spreads its files over /usr/share, /etc and /var/lib; the copy has them where DokuWiki itself expects them
(conf/ and data/ beside the rest), so nothing of the system's is read at run time but PHP libraries, and nothing of it
is written. Languages other than English are left out to save time.
"""
import html
import http.cookiejar
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser

import harness

SOURCE, CONF = "/usr/share/dokuwiki", "/etc/dokuwiki"
DATA_FOLDERS = ("attic", "cache", "index", "locks", "log", "media", "media_attic", "media_meta", "meta", "pages", "tmp")
# What an installation leaves behind, and the installer refuses to find.
LOCAL = ("local.php", "users.auth.php", "acl.auth.php", "plugins.local.php")
# What DokuWiki asks the web server for (README, https://www.dokuwiki.org/security): these folders are nobody's business.
CONFIG = """
<Directory "{root}/htdocs">
    Options FollowSymLinks
    DirectoryIndex index.php index.html
</Directory>
<DirectoryMatch "^{root}/htdocs/(conf|data|inc|vendor|bin)/">
    Require all denied
</DirectoryMatch>
LimitRequestBody 67108864
"""


def is_installed():
    return os.path.exists(SOURCE + "/doku.php")


def copy_to(docroot, owner):
    """The application, not yet installed, with folders that `owner` (a passwd entry or None) may write."""
    def other_languages(folder, names):
        return [n for n in names if os.path.basename(folder) == "lang" and n != "en"]

    shutil.copytree(SOURCE, docroot, dirs_exist_ok=True, ignore=other_languages)
    os.remove(os.path.join(docroot, "inc", "preload.php"))  # Debian's: it names the system's configuration
    conf = os.path.join(docroot, "conf")
    shutil.copytree(CONF, conf, ignore=shutil.ignore_patterns(*LOCAL, "*.conf.php*", "apache.conf", "lighttpd.conf"))
    # Debian's dokuwiki.php names the system's folder; and a test asks nobody on the network whether there is news.
    with open(os.path.join(conf, "local.protected.php"), "w") as f:
        f.write("<?php\n$conf['savedir'] = './data';\n$conf['updatecheck'] = 0;\n$conf['send404'] = 1;\n")
    for name in DATA_FOLDERS:
        os.makedirs(os.path.join(docroot, "data", name))
    for top in (conf, os.path.join(docroot, "data")):
        for folder, _, files in os.walk(top):
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                if owner:
                    os.chown(path, owner.pw_uid, owner.pw_gid)


class Form(HTMLParser):
    """The fields of the form with an id, as a browser would send them untouched."""

    def __init__(self, page, form_id):
        super().__init__()
        self.wanted, self.inside, self.fields, self.action, self.area = form_id, False, {}, None, None
        self.feed(page)
        assert self.action is not None, "no form %s in %s" % (form_id, page[:3000])

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag == "form" and a.get("id") == self.wanted:
            self.inside, self.action = True, a.get("action") or ""
        elif self.inside and tag == "input" and a.get("name") and a.get("type") not in ("submit", "checkbox", "file"):
            self.fields[a["name"]] = a.get("value") or ""
        elif self.inside and tag == "textarea":
            self.area = a["name"]
            self.fields[self.area] = ""

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False
        elif tag == "textarea":
            self.area = None

    def handle_data(self, data):
        if self.inside and self.area:
            self.fields[self.area] += data


def multipart(fields, files):
    """A body as a browser sends it for a form with files: {name: (file name, type, bytes)}; and its Content-Type."""
    boundary = "----muster%s" % os.urandom(12).hex()
    parts = []
    for name, value in fields.items():
        parts.append('--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary, name, value))
    body = "".join(parts).encode()
    for name, (filename, kind, content) in files.items():
        head = '--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: %s\r\n\r\n' % (
            boundary, name, filename, kind)
        body += head.encode() + content + b"\r\n"
    return body + ("--%s--\r\n" % boundary).encode(), "multipart/form-data; boundary=" + boundary


class Page:
    def __init__(self, answer):
        self.status, self.headers, self.url, self.body = answer.status, answer.headers, answer.url, answer.read()
        self.text = self.body.decode("utf-8", "replace")

    def form(self, form_id):
        return Form(self.text, form_id)


class Browser:
    """Keeps cookies, follows redirects; an error status is an answer like others."""

    def __init__(self, server):
        self.base = "http://127.0.0.1:%d/" % server.port
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies),
                                                  urllib.request.ProxyHandler({}))

    def open(self, path, body=None, headers=None):
        url = urllib.parse.urljoin(self.base, path)
        try:
            return Page(self.opener.open(urllib.request.Request(url, body, headers or {}), timeout=harness.PATIENCE))
        except urllib.error.HTTPError as e:
            return Page(e)

    def get(self, path, headers=None, **query):
        return self.open(path + ("?" + urllib.parse.urlencode(query) if query else ""), headers=headers)

    def post(self, path, fields):
        return self.open(path, urllib.parse.urlencode(fields).encode())

    def send_form(self, page, form_id, files=None, **more):
        """Fill in a form of a page and send it where it says."""
        form = page.form(form_id)
        fields = {**form.fields, **more}
        if files is None:
            return self.post(form.action or page.url, fields)
        body, kind = multipart(fields, files)
        return self.open(form.action or page.url, body, {"Content-Type": kind})


class Wiki(Browser):
    """What somebody does with a wiki. Every step asserts that it worked."""

    USER, PASSWORD = "keeper", "correct horse battery"

    def install(self, docroot):
        """Run the package's own install.php, as a first visitor does, and remove it, as it asks for."""
        page = self.get("install.php")
        assert page.status == 200 and "DokuWiki Installer" in page.text, page.text
        page = self.post("install.php", {
            "l": "en", "d[title]": "Test wiki", "d[acl]": "1", "d[superuser]": self.USER, "d[fullname]": "The Keeper",
            "d[email]": "keeper@example.org", "d[password]": self.PASSWORD, "d[confirm]": self.PASSWORD,
            "d[policy]": "1", "d[license]": "cc-by-sa", "submit": "1"})
        assert page.status == 200 and "finished successfully" in page.text, page.text
        os.remove(os.path.join(docroot, "install.php"))
        # A process whose OPcache still holds it fails to open it, others do not know it: either way it runs no more.
        page = self.get("install.php")
        assert "Installer" not in page.text and (page.status == 404 or "Failed opening" in page.text), page.text

    def is_logged_in(self, page):
        return "Logged in as" in page.text

    def login(self):
        page = self.get("doku.php", id="start", do="login")
        assert not self.is_logged_in(page)
        page = self.send_form(page, "dw__login", u=self.USER, p=self.PASSWORD)
        assert page.status == 404 and self.is_logged_in(page), "the start page is not written yet"
        names = {c.name[:2] for c in self.cookies}
        assert {"Do", "DW"} <= names, "session and login cookies: %s" % self.cookies
        return page

    def logout(self):
        page = self.get("doku.php", id="start")
        link = re.search(r'href="(/doku.php[^"]*do=logout[^"]*)"', page.text)
        assert self.is_logged_in(page) and link
        self.get(html.unescape(link[1]))
        assert not self.is_logged_in(self.get("doku.php", id="start"))

    def edit(self, page_id, text):
        """Save a page through its editor, and return what it shows then."""
        page = self.get("doku.php", id=page_id, do="edit")
        assert page.status == 200
        page = self.send_form(page, "dw__editform", wikitext=text, summary="by a test", **{"do[save]": "1"})
        assert page.status == 200
        return self.get("doku.php", id=page_id)

    def index(self, page_id):
        """What the picture at the foot of each page does: the indexer runs, perhaps on when the picture is there."""
        page = self.get("lib/exe/taskrunner.php", id=page_id)
        assert page.status == 200 and page.headers["Content-Type"] == "image/gif"

    def search(self, word):
        """Names of the pages that hold a word."""
        page = self.get("doku.php", do="search", id="start", q=word)
        assert page.status == 200
        return set(re.findall(r'class="search_fullpage_result".*?data-wiki-id="([^"]+)"', page.text, re.S))

    def upload(self, namespace, name, content):
        page = self.get("lib/exe/mediamanager.php", ns=namespace)
        assert page.status == 200
        page = self.send_form(page, "dw__upload", files={"upload": (name, "application/zip", content)})
        assert page.status == 200 and "Upload successful" in page.text, page.text

    def download(self, media):
        return self.get("lib/exe/fetch.php", media=media)
