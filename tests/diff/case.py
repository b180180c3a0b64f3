"""A case of the differential suite: a folder with a configuration, files and requests.

    httpd.conf   what is added to preamble.conf; `# modules: a b` in its first line loads only these modules
    requests     the raw requests, by name (see RequestParser)
    files/       copied to the document root
    files.txt    what a copy cannot carry: links, times, modes, sizes (see apply_manifest)
    masks        optional: `regular expression => text`, one a line, for what may differ in any body, header or log line

Replaced in httpd.conf, requests and files.txt: @ROOT@ (document root), @BASE@ (the folder around it), @PORT@,
@PORT2@, @ADDR@, @ADDR2@, and in httpd.conf @RUN@ and @LOGS@. In requests also @ETAG:file@, @MTIME:file@ (an HTTP date,
@MTIME+1:file@ a second later), @SIZE:file@ and @REPEAT:text:times@.
"""
import email.utils
import os
import re
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT_MODULES = ["authz_core", "alias", "dir", "mime", "autoindex"]
DEFAULT_HOST = "www.example.test"
DEFAULT_MTIME = 1704164645          # Tue, 02 Jan 2024 03:04:05 GMT
ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|[rnt0\\])")
PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class CaseError(Exception):
    """A case that is written wrongly."""


class Step:
    """Bytes sent at once, and the methods of the requests in them, one response being awaited for each."""

    def __init__(self):
        self.data = b""
        self.methods = []


class Connection:
    """One connection: named, with options (see RequestParser) and the steps taken on it in turn."""

    def __init__(self, name, options):
        self.name = name
        self.options = options
        self.steps = [Step()]

    def add(self, lines):
        data = encode(lines, "raw" in self.options)
        self.steps[-1].data += data
        self.steps[-1].methods.append(data.split(b" ", 1)[0].strip().decode("latin-1"))

    def requests(self):
        return sum(len(s.methods) for s in self.steps)


def unescape(data):
    return ESCAPE.sub(lambda m: bytes([int(m[1][1:], 16)]) if m[1][:1] == b"x" else PLAIN[m[1]], data)


def encode(lines, is_raw):
    """The bytes of a request: lines end in CRLF; a line that ends in a single backslash goes on without one.

    Blank lines at the end are layout. A request without a blank line inside is a head, which gets the blank line that
    ends it; what follows the first blank line is a body and ends with its last character. `raw` adds nothing at all.
    """
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    out, has_body = b"", False
    for i, line in enumerate(lines):
        data = line.encode("utf-8", "surrogateescape")
        goes_on = data.endswith(b"\\") and not data.endswith(b"\\\\")
        has_body = has_body or not data
        out += unescape(data[:-1] if goes_on else data)
        if not goes_on and i < len(lines) - 1:
            out += b"\r\n"
    return out if is_raw or has_body else out + b"\r\n\r\n"


def short_form(text):
    """The lines of `> METHOD target | Field: value | …`: an HTTP/1.1 request, for DEFAULT_HOST if no Host is given."""
    start, *fields = [part.strip() for part in text.split(" | ")]
    if not any(f.lower().startswith("host:") for f in fields):
        fields.insert(0, "Host: " + DEFAULT_HOST)
    return [start + " HTTP/1.1"] + fields


class RequestParser:
    """Reads a `requests` file. Options: raw (see encode), half (our side is shut behind the last request, of which a
    response may fail to come), patient (the server may close without having said so), port2, addr2 (where the
    connection goes).

        # a comment
        > [options] GET /path | Field: value        a connection with one plain request, which is its name as well
        == name [options]                           a connection; the raw text of its first request follows
        GET /path HTTP/1.1
        Host: example

        --                      next request on the same connection, sent when the response to the last one is there
        ++                      next request on the same connection, sent together with the last one
        ## a comment among raw requests
    """

    def __init__(self, where, expand):
        self.where = where
        self.expand = expand        # fills in what depends on a file; not in names, which stay as they are written
        self.connections = []
        self.lines = None           # of the raw request being read, None between connections

    def flush(self):
        if self.lines is not None:
            if not any(line.strip() for line in self.lines):
                raise CaseError("%s: %s has an empty request" % (self.where, self.connections[-1].name))
            self.connections[-1].add([self.expand(line) for line in self.lines])
        self.lines = None

    def line(self, number, line):
        full = re.fullmatch(r"== (.+?)(?: \[([a-z0-9 ]+)\])?", line)
        short = re.fullmatch(r"> (?:\[([a-z0-9 ]+)\] )?(.+)", line)
        if full:
            self.flush()
            self.connections.append(Connection(full[1], (full[2] or "").split()))
            self.lines = []
        elif short and (self.lines is None or not any(self.lines) or not self.lines[-1].strip()):
            self.flush()
            self.connections.append(Connection(line[2:], (short[1] or "").split()))
            self.lines = short_form(short[2])
            self.flush()
        elif self.lines is None:
            if line.strip() and not line.startswith("#"):
                raise CaseError("%s:%d: text outside of a request" % (self.where, number))
        elif line in ("--", "++"):
            self.flush()
            self.lines = []
            if line == "--":
                self.connections[-1].steps.append(Step())
        elif not line.startswith("##"):
            self.lines.append(line)


def parse_requests(text, where, expand=str):
    parser = RequestParser(where, expand)
    for number, line in enumerate(text.split("\n"), 1):
        parser.line(number, line)
    parser.flush()
    names = [c.name for c in parser.connections]
    twice = {n for n in names if names.count(n) > 1}
    if twice or not names:
        raise CaseError("%s: names used twice: %s" % (where, ", ".join(sorted(twice))))
    return parser.connections


def parse_size(text):
    m = re.fullmatch(r"(\d+)([kM]?)", text)
    return int(m[1]) * {"": 1, "k": 1024, "M": 1024 * 1024}[m[2]]


def apply_line(root, words):
    """One line of files.txt: `kind path arguments`."""
    kind, path, *rest = words
    full = os.path.join(root, path)
    if kind not in ("owner", "mode", "mtime"):
        os.makedirs(os.path.dirname(full), exist_ok=True)
    if kind == "dir":
        os.makedirs(full, exist_ok=True)
    elif kind == "link":
        os.symlink(rest[0], full)
    elif kind == "text":
        with open(full, "wb") as f:
            f.write(unescape(" ".join(rest).encode()))
    elif kind == "size":
        length = parse_size(rest[0])
        with open(full, "wb") as f:
            f.write((b"0123456789" * (length // 10 + 1))[:length])
    elif kind == "owner":
        if os.getuid() == 0:
            os.chown(full, int(rest[0]), int(rest[0]), follow_symlinks=False)
    elif kind == "mode":
        os.chmod(full, int(rest[0], 8))
    elif kind == "mtime":
        os.utime(full, (int(rest[0]), int(rest[0])), follow_symlinks=False)
    else:
        raise CaseError("files.txt: unknown kind %s" % kind)


def apply_manifest(root, text):
    """files.txt: `dir p`, `link p target`, `text p words…`, `size p 10k`, `mode p 600`, `mtime p seconds`,
    `owner p uid` (as root only). Paths start at the document root; `../outside/x` lies beside it."""
    lines = [line.split() for line in text.split("\n") if line.strip() and not line.startswith("#")]
    late = [w for w in lines if w[0] in ("owner", "mode", "mtime")]
    for words in lines:
        if words not in late:
            apply_line(root, words)
    for top in (root, os.path.join(os.path.dirname(root), "outside")):
        for folder, names, files in os.walk(top, topdown=False):
            for name in names + files + ["."]:
                os.utime(os.path.join(folder, name), (DEFAULT_MTIME, DEFAULT_MTIME), follow_symlinks=False)
    for words in late:
        apply_line(root, words)


class Case:
    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(HERE, "cases", name)
        conf = self.read("httpd.conf", "")
        m = re.match(r"# modules:(.*)", conf)
        self.modules = m[1].split() if m else DEFAULT_MODULES
        self.conf = conf
        self.masks = []
        for line in self.read("masks", "").split("\n"):
            if line.strip() and not line.startswith("#"):
                pattern, _, text = line.partition(" => ")
                self.masks.append((re.compile(pattern.encode()), text.encode()))

    def read(self, name, default=None):
        path = os.path.join(self.folder, name)
        if default is not None and not os.path.exists(path):
            return default
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            return f.read()

    def build_root(self, values):
        """Make the document root of this case."""
        root = values["ROOT"]
        files = os.path.join(self.folder, "files")
        if os.path.isdir(files):
            shutil.copytree(files, root, symlinks=True)
        else:
            os.makedirs(root)
        apply_manifest(root, fill(self.read("files.txt", ""), values))

    def connections(self, values):
        def expand(line):
            return file_facts(fill(line, values), values["ROOT"])
        return parse_requests(self.read("requests"), self.name + "/requests", expand)


def fill(text, values):
    for name, value in values.items():
        text = text.replace("@%s@" % name, value)
    return text


def file_facts(text, root):
    """Fill in what depends on a file, and repetitions."""
    def fact(m):
        kind, shift, path = m[1], int(m[2] or 0), m[3]
        st = os.stat(os.path.join(root, path))
        if kind == "ETAG":
            return '"%x-%x"' % (st.st_size, st.st_mtime_ns // 1000)
        if kind == "SIZE":
            return str(st.st_size + shift)
        return email.utils.formatdate(int(st.st_mtime) + shift, usegmt=True)

    text = re.sub(r"@(ETAG|SIZE|MTIME)([+-]\d+)?:([^@]+)@", fact, text)
    return re.sub(r"@REPEAT:([^@]+?):(\d+)@", lambda m: m[1] * int(m[2]), text)
