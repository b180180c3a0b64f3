"""The `serve` fixture: serve(config, files=…) starts a harness.Server and takes it down after the test."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cgiscripts  # noqa: E402
import harness  # noqa: E402


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, "report_" + report.when, report)


def has_failed(request):
    report = getattr(request.node, "report_call", None)
    return report is None or report.failed


def close(server, failed):
    """Stop, look for what is left, remove the folder; a failed test shows the server's words."""
    try:
        if not failed:
            server.stop()
            assert server.leftovers() == []
            assert "Sanitizer" not in server.output(), "a sanitizer has found something"
    except AssertionError:
        failed = True
        raise
    finally:
        server.kill_all()
        if failed:
            print("---- output of the server\n%s---- error log\n%s----" % (server.output(), server.error_log()))
        server.remove()


@pytest.fixture
def make(request):
    """make(config, …) prepares a Server without starting it."""
    servers = []

    def prepare(config="", **kwargs):
        servers.append(harness.Server(config, **kwargs))
        return servers[-1]

    yield prepare
    failed, trouble = has_failed(request), None
    for server in servers:
        try:
            close(server, failed)
        except AssertionError as e:
            trouble = e
    if trouble:
        raise trouble


@pytest.fixture
def serve(make):
    """serve(config, …) starts a Server."""
    return lambda config="", **kwargs: make(config, **kwargs).start()


@pytest.fixture
def beside():
    """beside(applications.FcgiApp(…)) starts an application beside the server; it is ended after the test."""
    started = []

    def start(app):
        started.append(app)
        return app.start()

    yield start
    for app in started:
        app.stop()


@pytest.fixture
def cgi(make):
    """cgi(config, …) starts a server with a folder of CGI scripts (cgiscripts.Site)."""
    sites = []

    def start(config="", **kwargs):
        sites.append(cgiscripts.Site(make, config, **kwargs))
        return sites[-1].start()

    yield start
    for site in sites:
        site.close()
