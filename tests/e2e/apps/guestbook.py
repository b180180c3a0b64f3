#!/usr/bin/python3
"""A guest book as CGI programs were written for decades: forms, a redirect after each, cookies, a file for the entries.

GET shows the entries and who one is, POST adds one (urlencoded) and redirects; /raw sends the file, /stream a line and
then, when the file named by `until` is there, another.
"""
import fcntl
import html
import os
import sys
import time
import urllib.parse

BOOK = "guestbook.txt"


def out(text):
    sys.stdout.buffer.write(text.encode())


def cookies():
    pairs = (part.strip().partition("=") for part in os.environ.get("HTTP_COOKIE", "").split(";"))
    return {name: urllib.parse.unquote(value) for name, _, value in pairs}


def post():
    body = sys.stdin.buffer.read(int(os.environ["CONTENT_LENGTH"]))
    form = urllib.parse.parse_qs(body.decode(), strict_parsing=True)
    name, text = form["name"][0], form["text"][0].replace("\n", " ")
    with open(BOOK, "a", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.write("%s\t%s\n" % (name, text))
    print("signed by %s" % name, file=sys.stderr)
    out("Status: 303 See Other\nSet-Cookie: guest=%s; HttpOnly\nSet-Cookie: seen=1\nLocation: http://%s%s\n\n" % (
        urllib.parse.quote(name), os.environ["HTTP_HOST"], os.environ["SCRIPT_NAME"]))


def show():
    with open(BOOK, encoding="utf-8") as f:
        entries = [line.rstrip("\n").split("\t") for line in f]
    rows = "".join("<li><b>%s</b>: %s</li>\n" % (html.escape(n), html.escape(t)) for n, t in entries)
    out("Content-Type: text/html; charset=utf-8\n\n<p>You are %s.</p>\n<ul>\n%s</ul>\n" % (
        html.escape(cookies().get("guest", "nobody")), rows))


def stream(until):
    out("Content-Type: text/plain\n\nfirst\n")
    sys.stdout.flush()
    while not os.path.exists(until):
        time.sleep(0.01)
    out("last\n")


def main():
    path = os.environ.get("PATH_INFO", "")
    if os.environ["REQUEST_METHOD"] == "POST":
        post()
    elif path == "/raw":
        out("Content-Type: text/plain\nContent-Length: %d\n\n" % os.path.getsize(BOOK))
        with open(BOOK, encoding="utf-8") as f:
            out(f.read())
    elif path == "/stream":
        stream(urllib.parse.parse_qs(os.environ["QUERY_STRING"])["until"][0])
    else:
        show()


main()
