"""What counts as a difference between two servers' answers, and the list of those kept on purpose."""
import fnmatch
import re
import tomllib

IGNORED_HEADERS = (b"date", b"server")
SIGNATURE = re.compile(rb"(Apache|Muster)/\d+\.\d+\.\d+( \([^)]*\))?")
LOG_TIME = re.compile(rb"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]")
MULTIPART = re.compile(rb"multipart/byteranges; *boundary=\"?([^\";]+)\"?")


class Difference:
    """One part of one request in which the servers differ."""

    def __init__(self, request, part, apache, muster):
        self.request, self.part, self.apache, self.muster = request, part, apache, muster

    def __str__(self):
        return "%s: %s\n      apache: %s\n      muster: %s" % (
            self.request, self.part, shorten(self.apache), shorten(self.muster))


def shorten(value):
    text = repr(value)
    return text if len(text) < 2000 else text[:1960] + "… (%d characters)" % len(text)


def as_list(value):
    return value if isinstance(value, list) else [value]


class KeptList:
    """differences.toml: what is kept, why, and whether it was seen."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.entries = tomllib.load(f).get("difference", [])
        for entry in self.entries:
            missing = {"case", "request", "part", "reason"} - entry.keys()
            if missing:
                raise ValueError("%s: a difference without %s: %s" % (path, ", ".join(sorted(missing)), entry))
            for key in ("case", "request", "part"):
                entry[key] = as_list(entry[key])
            entry["unseen"] = {(key, value) for key in ("case", "request", "part") for value in entry[key]}

    def keeps(self, case, difference):
        """Is this difference listed? Marks what lists it as seen."""
        for entry in self.entries:
            names = matching(difference.request, entry["request"])
            parts = matching(difference.part, entry["part"])
            if case in entry["case"] and names and parts and self.same_values(entry, difference):
                entry["unseen"] -= {("case", case)} | {("request", n) for n in names} | {("part", p) for p in parts}
                return True
        return False

    def same_values(self, entry, difference):
        """Do the values given agree? They are those of the part or, when several are listed, of the status."""
        if difference.part != "status" and entry["part"] != [difference.part]:
            return True
        return (entry.get("apache", text(difference.apache)) == text(difference.apache) and
                entry.get("muster", text(difference.muster)) == text(difference.muster))

    def stale(self, cases):
        """What is listed and did not occur: (cases, the unseen values)."""
        return [("/".join(e["case"]), ", ".join("%s %s" % pair for pair in sorted(e["unseen"])))
                for e in self.entries if e["unseen"] and set(e["case"]) <= set(cases)]


def matching(name, patterns):
    return [p for p in patterns if name == p or fnmatch.fnmatchcase(name, p)]


def text(value):
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


class Normaliser:
    """Brings one server's answers to the form in which they are compared."""

    def __init__(self, addresses, masks):
        self.addresses = [a.encode() for a in addresses]
        self.masks = masks

    def bytes(self, data):
        for address, name in zip(self.addresses, (b"ADDR", b"ADDR2")):
            data = re.sub(rb"(?<![\d.])" + re.escape(address) + rb"(?![\d.])", name, data)
        data = SIGNATURE.sub(b"SERVER", data)
        for pattern, replacement in self.masks:
            data = pattern.sub(replacement, data)
        return data

    def headers(self, response):
        found = {}
        boundary = self.boundary(response)
        for name, value in response.headers + [(b"trailer " + n, v) for n, v in response.trailers]:
            if name in IGNORED_HEADERS:
                continue
            if name == b"content-length" and response.body and value == b"%d" % len(response.body):
                value = b"%d" % len(self.body(response))    # of what is compared
            if boundary:
                value = value.replace(boundary, b"BOUNDARY")
            if name == b"allow":    # a set: Apache's order changes from one start to the next
                value = b",".join(sorted(value.replace(b" ", b"").split(b",")))
            found.setdefault(name, []).append(self.bytes(value))
        return found

    def boundary(self, response):
        for value in response.header(b"content-type"):
            m = MULTIPART.match(value)
            if m:
                return m[1]
        return None

    def body(self, response):
        boundary = self.boundary(response)
        body = response.body.replace(boundary, b"BOUNDARY") if boundary else response.body
        return self.bytes(body)

    def log(self, line, lengths):
        """A log line without the time, and without the lengths that differ because Server or the name in a signature does."""
        line = LOG_TIME.sub(b"[TIME]", self.bytes(line))
        for number in lengths:
            # not behind the request line: there stands the status, which may be the same number
            line = re.sub(rb"(?<![\w.])(?<!\" )%d(?![\w.])" % number, b"LENGTH", line)
        return line


def own_lengths(response, normaliser):
    """The lengths of a response that are a server's own: with its Server header; of a body with its name, its boundary."""
    found = {response.wire_len, response.wire_len + response.sent_len}
    if len(response.body) != len(normaliser.body(response)):
        found.add(len(response.body))
    return found - {0}


def compare_pair(name, sides):
    """Differences between two responses to one request. sides: for each server (response, normaliser)."""
    (a, na), (m, nm) = sides
    found = []
    if a.status != m.status:
        found.append(Difference(name, "status", a.status, m.status))
    ha, hm = na.headers(a), nm.headers(m)
    for header in sorted(ha.keys() | hm.keys()):
        va, vm = ha.get(header), hm.get(header)
        if va != vm:
            found.append(Difference(name, "header:" + header.decode("latin-1"), join(va), join(vm)))
    ba, bm = na.body(a), nm.body(m)
    if ba != bm:
        found.append(Difference(name, "body", ba, bm))
    return found


def join(values):
    return None if values is None else b" | ".join(values)


def compare_talks(names, talks, logs, normalisers):
    """All differences on one connection; `names` has one name for each request on it.

    Returns them and, for each server, the set of lengths that are its own (see own_lengths).
    """
    apache, muster = talks
    found = []
    lengths = [[], []]
    for i, name in enumerate(names):
        pair = [t.responses[i] if i < len(t.responses) else None for t in talks]
        if None in pair:
            if pair[0] is not pair[1]:
                found.append(Difference(name, "status", *(r and r.status for r in pair)))
            continue
        if apache.informational[i] != muster.informational[i]:
            found.append(Difference(name, "informational", apache.informational[i], muster.informational[i]))
        found += compare_pair(name, list(zip(pair, normalisers)))
        for side, response, normaliser in zip(lengths, pair, normalisers):
            side.append(own_lengths(response, normaliser))
    if (apache.end, apache.extra) != (muster.end, muster.extra):
        found.append(Difference(names[-1], "end", (apache.end, apache.extra), (muster.end, muster.extra)))
    found += compare_logs(names, logs, normalisers, lengths)
    return found, [set().union(*side) for side in lengths]


def compare_logs(names, logs, normalisers, lengths):
    """Differences between access-log lines; lengths holds, for each server, a set for each response."""
    shown = []
    for lines, normaliser, own in zip(logs, normalisers, lengths):
        shown.append([normaliser.log(line, own[i] if i < len(own) else ()) for i, line in enumerate(lines)])
    found = []
    for i in range(max(map(len, shown), default=0)):
        a, m = (side[i] if i < len(side) else None for side in shown)
        if a != m:
            found.append(Difference(names[min(i, len(names) - 1)], "log", a, m))
    return found
