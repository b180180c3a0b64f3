"""The `serve` fixture: serve(config, files=…) starts a harness.Server and takes it down after the test; and which tests run.

Everything runs on every MPM in a plain build. In static and sanitized builds marks leave out what is dear and has nothing
to find there:

    @pytest.mark.plain        amounts and patience: only in a plain build
    @pytest.mark.one_mpm      the same code whatever the MPM: in other builds on one MPM (event, if it is tested);
                              all tests of the files that ONE_MPM names have it
    @pytest.mark.unthreaded   no thread does anything that other tests do not have it do: not under TSan; see UNTHREADED

tools/test says what is tested: MU_BUILD (plain, static, asan, tsan), MU_MPMS, and MU_SHARD=i/n, the i-th of n parts. By
hand, without them, everything runs.
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cgiscripts  # noqa: E402
import harness  # noqa: E402


MARKS = {"plain": "only in a plain build", "one_mpm": "in other than plain builds on one MPM only",
         "unthreaded": "not under ThreadSanitizer"}
# Applications, which meet the MPM in the requests that all others make too, and the command line.
ONE_MPM = ("test_apps_", "test_cgi", "test_cli", "test_fcgi", "test_pool", "test_proxy")
UNTHREADED = ("test_apps_dokuwiki", "test_cli")


def pytest_configure(config):
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", "%s: %s" % (name, meaning))
    # What a thread asserts counts, and a thread that ended early asked for nothing any more.
    config.addinivalue_line("filterwarnings", "error::pytest.PytestUnhandledThreadExceptionWarning")


def pytest_itemcollected(item):
    if item.path.name.startswith(ONE_MPM):
        item.add_marker(pytest.mark.one_mpm)
    if item.path.name.startswith(UNTHREADED):
        item.add_marker(pytest.mark.unthreaded)


def is_left_out(item):
    mpms = os.environ.get("MU_MPMS", harness.MPM).split()
    build = os.environ.get("MU_BUILD", "plain")
    if build == "plain":
        return False
    if item.get_closest_marker("plain") or (build == "tsan" and item.get_closest_marker("unthreaded")):
        return True
    return item.get_closest_marker("one_mpm") and harness.MPM != ("event" if "event" in mpms else mpms[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Behind pytest's own -k, so that the parts share out what was asked for."""
    part, parts = map(int, os.environ.get("MU_SHARD", "1/1").split("/"))
    wanted = [item for item in items if not is_left_out(item)][part - 1::parts]
    kept = set(wanted)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = wanted


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
