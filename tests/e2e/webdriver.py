"""Debian's Chromium, driven by the WebDriver protocol (https://www.w3.org/TR/webdriver2/) with urllib alone."""
import contextlib
import json
import os
import socket
import urllib.error
import urllib.request

import harness
from applications import Background

DRIVER, CHROMIUM = "/usr/bin/chromedriver", "/usr/bin/chromium"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Nothing of a user's, no sandbox (the tests may run as root), and no word with the network but what a test asks for.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--disable-default-apps", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")


def is_installed():
    return os.access(DRIVER, os.X_OK) and os.access(CHROMIUM, os.X_OK)


class Chromium(Background):
    """One headless browser with a fresh profile; css selectors name elements."""

    def start(self):
        port = harness.free_ports(1)[0]
        self.base = "http://127.0.0.1:%d" % port
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.spawn([DRIVER, "--port=%d" % port], env={"HOME": self.folder, "TMPDIR": self.folder, "LANG": "C.UTF-8",
                                                      "PATH": "/usr/bin:/bin"})
        harness.wait_until("chromedriver accepts", lambda: self.accepts(socket.AF_INET, ("127.0.0.1", port)))
        options = {"binary": CHROMIUM, "args": [*FLAGS, "--user-data-dir=" + self.path("profile")]}
        answer = self.call("/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"pageLoad": int(harness.PATIENCE * 1000), "script": int(harness.PATIENCE * 1000)}}}})
        self.base += "/session/" + answer["sessionId"]
        return self

    def stop(self, *args):
        try:
            if "/session/" in getattr(self, "base", ""):
                self.call("", method="DELETE")
        finally:
            super().stop(*args)

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"},
                                         method=method or ("GET" if body is None else "POST"))
        try:
            with self.opener.open(request, timeout=2 * harness.PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError("chromedriver: %s" % json.load(e)["value"]) from None

    def go(self, url):
        self.call("/url", {"url": url})

    def find(self, selector):
        """Elements, perhaps none."""
        return [e[ELEMENT] for e in self.call("/elements", {"using": "css selector", "value": selector})]

    def wait_for(self, selector):
        return harness.wait_until("%s on the page" % selector, lambda: self.find(selector))[0]

    def type(self, selector, text):
        self.call("/element/%s/value" % self.wait_for(selector), {"text": text})

    def click(self, selector):
        self.call("/element/%s/click" % self.wait_for(selector), {})

    def text(self, selector):
        return self.call("/element/%s/text" % self.wait_for(selector))

    def wait_for_text(self, selector, text):
        """Until the first such element says that: on the next page, while it is not there yet."""
        def says():
            with contextlib.suppress(AssertionError):  # the element was the last page's
                return self.find(selector) and self.text(selector) == text
            return False
        harness.wait_until("%s says %r" % (selector, text), says)

    def run(self, script):
        return self.call("/execute/sync", {"script": script, "args": []})

    def errors(self):
        """What the browser's console complained of."""
        return [e["message"] for e in self.call("/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]
