"""mod_php: what a script sees and says, compared with Debian's mod_php in Apache httpd where that is to the point."""
import hashlib
import json
import os
import re
import shutil

import pytest

import modphp
from harness import wait_until

pytestmark = [modphp.built, modphp.prefork]

HEAD = b"Host: localhost:PORT\r\nConnection: close\r\n"
UPLOAD = (b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"u.txt\"\r\nContent-Type: text/plain\r\n\r\n"
          b"hello upload\r\n--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n5\r\n--B--\r\n")


@pytest.fixture
def site(make):
    """site(files, config, …) starts a server with PHP inside."""
    return lambda files=None, config="", **kw: modphp.prepare(make, config, files, **kw).start()


def lines(answer):
    return answer.body.decode().splitlines()


# ---- beside Apache httpd ----

SCRIPTS = {
    "empty": "", "exit": 'echo "a"; exit(3); echo "b";',
    "length": 'while (ob_get_level()) ob_end_clean(); echo str_repeat("x", (int)$_GET["n"]);',
    "status": 'http_response_code((int)$_GET["n"]); echo "page";',
    "status_alone": 'http_response_code((int)$_GET["n"]); header("ETag: \\"x\\"");',
    "line": 'header("HTTP/1.1 404 Gone Fishing"); echo "x";',
    "line10": 'header("HTTP/1.0 404 Gone Fishing"); echo str_repeat("x", 20000);',
    "location": 'header("Location: /a.php");',
    "location301": 'header("Location: /a.php", true, 301); header("X-A: 1"); header("X-A: 2", false);',
    "replaced": 'header("X-A: 1"); header("X-A: 2"); header("X-B: 1"); header_remove("x-b"); echo "x";',
    "cookies": 'setcookie("a", "1"); setcookie("b", "2 x", ["httponly" => true]); var_dump($_COOKIE);',
    "type": 'header("Content-Type: text/plain"); echo "x";',
    "type_json": 'header("Content-Type: application/json"); header_remove("Content-Type"); echo "{}";',
    "removed": 'header("X-A: 1"); header_remove(); echo "x";',
    "content_length": 'header("Content-Length: 3"); echo "abc";',
    "date": 'header("Date: yesterday"); header("Server: mine"); echo "x";',
    "modified": 'header("Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT"); echo "x";',
    "fatal": "undefined_function();", "fatal_late": 'echo "some"; undefined_function();',
    "parse": "this is not php", "memory": 'ini_set("memory_limit", "8M"); $a = str_repeat("x", 100000000);',
    "warnings": 'echo $undefined; trigger_error("n", E_USER_NOTICE); trigger_error("d", E_USER_DEPRECATED); '
                'trigger_error("w", E_USER_WARNING); error_log("logged by me"); echo "ok";',
    "flush": 'echo "a"; ob_flush(); flush(); echo "b"; while (ob_get_level()) ob_end_flush(); flush(); echo "c";',
    "shutdown": 'register_shutdown_function(function () { echo "shut"; header("X-Late: 1"); }); echo "x";',
    "callback": 'header_register_callback(function () { header("X-Cb: 1"); header_remove("X-A"); }); '
                'header("X-A: 1"); echo "x";',
    "request_headers": "print_r(apache_request_headers()); var_dump(getallheaders() == apache_request_headers());",
    "note": 'var_dump(apache_note("n", "1"), apache_note("n", "2"), apache_note("n"), apache_note("m"));',
    "env": 'var_dump(apache_setenv("FOO", "bar"), apache_getenv("FOO"), getenv("FOO"), isset($_SERVER["FOO"]), '
           'getenv("REQUEST_METHOD"), apache_getenv("REQUEST_METHOD"), apache_getenv("none"), getenv("none"));',
    "post": 'print_r($_POST); foreach ($_FILES as $f) print_r([$f["name"], $f["size"], $f["error"], '
            'md5_file($f["tmp_name"])]); echo file_get_contents("php://input");',
    "server": "$s = $_SERVER; unset($s['REQUEST_TIME'], $s['REQUEST_TIME_FLOAT'], $s['REMOTE_PORT'], $s['PATH'], "
              "$s['SERVER_SOFTWARE']); ksort($s); echo json_encode([$s, $_GET, getcwd(), getmyinode() == fileinode(__FILE__), "
              "getlastmod() == filemtime(__FILE__), PHP_SAPI, filter_input(INPUT_SERVER, 'REQUEST_METHOD')]);",
    "virtual": 'echo "before\\n"; var_dump(virtual("/inc.txt")); echo "after\\n"; var_dump(virtual("none.txt"));',
    "ini": 'var_dump(ini_get("memory_limit"), ini_set("memory_limit", "64M"), ini_get("memory_limit"), '
           'ini_get("engine"), basename(php_ini_loaded_file()), php_sapi_name(), extension_loaded("apache2handler"), '
           "connection_status());",
    "functions": '$f = array_map(fn($f) => preg_replace("/\\\\s+/", " ", str_replace("stdClass", "object", (string)$f)), '
                 '(new ReflectionExtension("apache2handler"))->getFunctions()); sort($f); print_r($f);',
    "lookup": '$u = apache_lookup_uri("/inc.txt?x=1"); foreach (["status", "the_request", "method", "content_type", '
              '"unparsed_uri", "uri", "filename", "args"] as $k) var_dump($u->$k);',
}


def get(path, *more):
    return b"GET /%s HTTP/1.1\r\n" % path.encode() + HEAD + b"".join(line + b"\r\n" for line in more) + b"\r\n"


def post(path, kind, body, chunked=False):
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    return (b"POST /%s HTTP/1.1\r\n" % path.encode() + HEAD + b"Content-Type: " + kind + b"\r\n" + length + b"\r\n\r\n" +
            body)


FORM = b"application/x-www-form-urlencoded"
BASIC = b"Authorization: Basic YWxpY2U6czpjcmV0"
REQUESTS = {
    **{name: get(name + ".php") for name in SCRIPTS if name not in ("length", "status", "status_alone")},
    "5000 bytes": get("length.php?n=5000"), "8000 bytes": get("length.php?n=8000"),
    "20000 bytes": get("length.php?n=20000"),
    "status 404": get("status.php?n=404"), "status 503": get("status.php?n=503"), "status 201": get("status.php?n=201"),
    "404 without a page": get("status_alone.php?n=404"), "304": get("status_alone.php?n=304"),
    "204": get("status_alone.php?n=204"), "500 without a page": get("status_alone.php?n=500"),
    "HEAD": b"HEAD /length.php?n=5000 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "HEAD 404": b"HEAD /status.php?n=404 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "HTTP/1.0": b"GET /length.php?n=20000 HTTP/1.0\r\n\r\n",
    "HTTP/1.0 kept": b"GET /length.php?n=50 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /exit.php HTTP/1.0\r\n\r\n",
    "pipeline": b"GET /exit.php HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /type.php HTTP/1.1\r\nHost: x\r\n\r\n" + get("exit.php"),
    "path info": get("server.php/extra/%41?a=1&b[]=2&c.d=3"),
    "Basic": get("server.php", BASIC), "Digest": get("server.php", b'Authorization: Digest username="x"'),
    "odd fields": get("server.php", b"X-A: 1", b"x-a: 2", b"X_Under: 1", b"Proxy: x", b"X.Dot: 1", b"Cookie: k=v"),
    "form": post("post.php", FORM, b"a=1&b[]=2&c"),
    "chunked form": post("post.php", FORM, b"5\r\na=1&b\r\n4\r\n[]=2\r\n0\r\n\r\n", chunked=True),
    "JSON": post("post.php", b"application/json", b'{"a": 1}'),
    "upload": post("post.php", b"multipart/form-data; boundary=B", UPLOAD),
    "PUT": b"PUT /post.php HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello",
    "OPTIONS": b"OPTIONS /server.php HTTP/1.1\r\n" + HEAD + b"\r\n",
    "own method": b"FOO /server.php HTTP/1.1\r\n" + HEAD + b"\r\n",
    "cookie": get("cookies.php", b"Cookie: a=1; c=%20x; b[k]=2"),
    "joined fields": get("request_headers.php", b"X-A: 1", b"x-a: 2", BASIC),
    "missing": get("nonesuch.php"), "directory index": get("dir/"), "by an alias": get("alias/self.php?q"),
    "alias with path info": get("alias/self.php/x/y"),
    "continue": b"POST /post.php HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "not modified": get("modified.php", b"If-Modified-Since: Tue, 01 Jan 2019 00:00:00 GMT"),
    "ErrorDocument": get("none/at/all?q=1"),
}


def normal(answer):
    """A whole answer without what differs by nature: Date, Server and its signature."""
    text = re.sub(rb"(?m)^(Date|Server): .*\r\n", b"", answer)
    return re.sub(rb"<hr>\n<address>.*</address>\n", b"", text)


@modphp.needs_apache
def test_answers_are_those_of_apache(make, beside):
    files = {name + ".php": text for name, text in SCRIPTS.items()}
    files.update({"inc.txt": "included text\n", "dir/index.php": "echo 'index ', $_SERVER['SCRIPT_NAME'];",
                  "real/self.php": SCRIPTS["server"],
                  "error.php": "echo http_response_code(), ' ', $_SERVER['REDIRECT_STATUS'], ' ', $_SERVER['REDIRECT_URL'], ' ', "
                               "$_SERVER['REDIRECT_QUERY_STRING'] ?? '-', ' ', $_SERVER['REQUEST_URI'];"})
    config = ("DirectoryIndex index.php\nErrorDocument 404 /error.php\nAlias /alias {root}/htdocs/real\n"
              "php_value memory_limit 99M\n")
    server = modphp.prepare(make, config, files).start()
    apache = beside(modphp.apache(server, config))
    differing = []
    for name, request in REQUESTS.items():
        theirs, ours = modphp.exchange(apache.port, request), modphp.exchange(server.port, request)
        if normal(theirs) != normal(ours):
            differing.append("%s\n-- apache\n%s\n-- muster\n%s" % (name, normal(theirs)[:3000].decode(errors="replace"),
                                                                   normal(ours)[:3000].decode(errors="replace")))
    assert not differing, "\n\n".join(differing)
    assert modphp.php_errors(server.error_log()) == modphp.php_errors(apache.error_log())


# ---- configuration ----

def test_every_way_to_name_the_handler(site):
    page = "echo 'ran ', basename(__FILE__);"
    s = site({"a.php": page, "a.one": "<?php " + page, "a.two": "<?php " + page, "d/a.html": "<?php " + page, "a.phps": "<?php echo 1;",
              "a.three": "<?php " + page, "a.txt": "text"},
             "AddType application/x-httpd-php .one\nAddHandler php-script .two\nAddHandler php8-script .three\n"
             "<Directory {root}/htdocs/d>\nSetHandler application/x-httpd-php\n</Directory>\n"
             "AddType application/x-httpd-php-source .phps\n")
    for name in ("a.php", "a.one", "a.two", "a.three", "d/a.html"):
        assert s.get("/" + name).body == b"ran " + os.path.basename(name).encode()
    source = s.get("/a.phps")
    assert source.headers["Content-Type"].startswith("text/html")
    assert b"&lt;?php" in source.body and b"echo" in source.body and b"<?php" not in source.body
    assert s.get("/a.txt").body == b"text"


def test_conditions_know_it(site):
    s = site({"a.php": "echo ini_get('precision'), ini_get('memory_limit'), ini_get('include_path');"},
             "<IfModule mod_php.c>\nphp_value precision 3\n</IfModule>\n<IfModule php_module>\nphp_value memory_limit 44M\n</IfModule>\n"
             "<IfModule mod_php7.c>\nphp_value precision 4\n</IfModule>\n<IfModule !mod_php.c>\nphp_value precision 5\n</IfModule>\n"
             "php_value include_path x\n")
    assert s.get("/a.php").body == b"344Mx"


@pytest.mark.skipif(not modphp.DEBIANS, reason="Debian's mod_php is not there")
def test_debians_line_loads_our_own(site):
    s = site({"a.php": "echo PHP_SAPI, ' ', apache_get_version();"},
             load=modphp.LOAD.replace("modules/mod_php.so", modphp.DEBIANS[-1]))
    assert s.get("/a.php").body.startswith(b"apache2handler Muster")


def test_not_built_says_what_to_install(tmp_path, make):
    s = modphp.prepare(make)
    os.chmod(tmp_path, 0o755)
    shutil.copy(s.binary, tmp_path / "muster")
    os.mkdir(tmp_path / "modules")
    folder = os.path.dirname(modphp.MODULE)
    for name in os.listdir(folder):
        if name != "mod_php.so":
            shutil.copy(os.path.join(folder, name), tmp_path / "modules" / name)
    s.binary = str(tmp_path / "muster")
    result = s.run("-t")
    assert result.returncode != 0
    for word in ("LoadModule php_module", "apt-get install libphp-embed php-dev", "<ApplicationPool>", "php-fpm"):
        assert word in result.stderr, result.stderr
    s.binary = modphp.MUSTER


def test_php_ini_dir(make):
    s = modphp.prepare(make, files={"a.php": "echo ini_get('memory_limit'), ' ', php_ini_loaded_file();"})
    s.write("conf/php.ini", "memory_limit = 77M\n")
    s.start()
    assert s.get("/a.php").body == b"77M " + s.path("conf", "php.ini").encode()
    s.configure("LoadModule php_module modules/mod_php.so\nPHPINIDir none/such\n")
    result = s.run("-t")
    assert result.returncode != 0 and "PHPINIDir" in result.stderr and "none/such" in result.stderr
    s.configure("LoadModule php_module modules/mod_php.so\nListen 127.0.0.1:1\n<VirtualHost *:1>\nPHPINIDir conf\n</VirtualHost>\n")
    assert s.run("-t").returncode != 0


def test_values_and_their_contexts(site):
    show = ("$k = ['memory_limit', 'precision', 'display_errors', 'upload_max_filesize', 'user_agent', 'open_basedir'];"
            "foreach ($k as $n) $was[$n] = ini_get($n); $set = @ini_set('precision', '3');"
            "echo json_encode([$was, $set, ini_get('precision')]);")
    s = site({"a.php": show, "in/a.php": show, "in/deep/a.php": show, "loc/a.php": show}, modphp.ONE_CHILD +
             "php_value memory_limit 91M\nphp_value user_agent outer\nphp_admin_value precision 11\nphp_flag display_errors on\n"
             "<Directory {root}/htdocs/in>\nphp_value memory_limit 92M\nphp_value precision 5\nphp_value upload_max_filesize 3M\n"
             "</Directory>\n<Directory {root}/htdocs/in/deep>\nphp_admin_value precision 7\nphp_flag display_errors off\n"
             "php_value user_agent none\n</Directory>\n"
             "<Location /loc>\nphp_admin_value memory_limit 93M\n</Location>\n"
             "<VirtualHost *>\nServerName first\n</VirtualHost>\n"
             "<VirtualHost *>\nServerName second\nphp_value memory_limit 94M\nphp_admin_flag display_errors off\n"
             "php_admin_value open_basedir {root}\n</VirtualHost>\n")

    def ask(path, host="first"):
        was, changed, after = json.loads(s.get(path, {"Host": host}).body)
        return [was["memory_limit"], was["precision"], was["display_errors"], changed, after, was["open_basedir"]]

    def once():
        assert ask("/a.php") == ["91M", "11", "1", False, "11", ""]
        assert ask("/in/a.php") == ["92M", "11", "1", False, "11", ""]
        assert ask("/in/deep/a.php") == ["92M", "7", "0", False, "7", ""]
        assert ask("/loc/a.php") == ["93M", "11", "1", False, "11", ""]
        assert ask("/a.php", "second") == ["94M", "11", "0", False, "11", s.root]
        was = json.loads(s.get("/in/deep/a.php", {"Host": "second"}).body)[0]
        assert was["upload_max_filesize"] == "3M" and was["user_agent"] == ""

    once()
    once()  # the one child has seen them all: nothing stays


def test_a_script_may_change_what_no_admin_fixed(site):
    s = site({"a.php": "echo ini_get('precision'), ini_set('precision', '3') !== false ? 'y' : 'n', ini_get('precision');"},
             modphp.ONE_CHILD + "php_value precision 9\n")
    assert [s.get("/a.php").body for _ in range(3)] == [b"9y3"] * 3


def test_engine_off_is_a_file(site):
    s = site({"a.php": "echo 1;", "up/a.php": "echo 1;", "up/on/a.php": "echo 2;", "admin/a.php": "echo 3;", "admin/on/a.php": "echo 3;"},
             "<Directory {root}/htdocs/up>\nphp_flag engine off\n</Directory>\n"
             "<Directory {root}/htdocs/up/on>\nphp_flag engine on\n</Directory>\n"
             "<Directory {root}/htdocs/admin>\nphp_admin_flag engine off\n</Directory>\n"
             "<Directory {root}/htdocs/admin/on>\nphp_flag engine on\n</Directory>\n")
    assert s.get("/a.php").body == b"1"
    assert s.get("/up/a.php").body == b"<?php echo 1;"
    assert s.get("/up/on/a.php").body == b"2"
    assert s.get("/admin/a.php").body == s.get("/admin/on/a.php").body == b"<?php echo 3;"


def test_accept_path_info(site):
    s = site({"a.php": "echo $_SERVER['PATH_INFO'] ?? '-';", "off/a.php": "echo 'x';"},
             "<Directory {root}/htdocs/off>\nAcceptPathInfo Off\n</Directory>\n")
    assert s.get("/a.php/x").body == b"/x"
    assert s.get("/off/a.php").body == b"x"
    assert s.get("/off/a.php/x").status == 404


def test_last_modified(site):
    s = site({"a.php": "echo 1;"}, "php_flag last_modified on\n")
    os.utime(s.path("htdocs", "a.php"), (1000000000, 1000000000))
    assert s.get("/a.php").headers["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"


# ---- bodies ----

def test_uploads(site):
    s = site({"up.php": "$f = $_FILES['f']; echo $f['error'], ' ', $f['size'], ' ', md5_file($f['tmp_name']), ' ', dirname($f['tmp_name']), ' ',"
                        "$_POST['after']; rename($f['tmp_name'], $f['tmp_name'] . '.kept'); echo ' ', md5_file($f['tmp_name'] . '.kept');"
                        "unlink($f['tmp_name'] . '.kept');"},
             upload_max_filesize="64M", post_max_size="64M", memory_limit="16M")
    data = os.urandom(1 << 20) * 24
    body = (b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"big\"\r\n\r\n" + data +
            b"\r\n--B\r\nContent-Disposition: form-data; name=\"after\"\r\n\r\nlast\r\n--B--\r\n")
    digest = hashlib.md5(data).hexdigest()
    chunked = (body[i:i + 100000] for i in range(0, len(body), 100000))
    for sent in (body, chunked):
        answer = s.request("POST", "/up.php", {"Content-Type": "multipart/form-data; boundary=B"}, sent)
        assert lines(answer) == ["0 %d %s %s last %s" % (len(data), digest, s.path("tmp"), digest)]
    assert os.listdir(s.path("tmp")) == []


def test_input_is_streamed(site):
    """Far more than the script may hold."""
    s = site({"sum.php": "$h = hash_init('md5'); $n = hash_update_stream($h, fopen('php://input', 'rb')); echo $n, ' ', hash_final($h), ' ', "
                         "memory_get_peak_usage() < 4e6 ? 'small' : 'big';"}, memory_limit="8M", post_max_size="0")
    data = os.urandom(1 << 20) * 40
    for kind in ("application/octet-stream", "text/plain"):
        answer = s.request("PUT", "/sum.php", {"Content-Type": kind}, data)
        assert lines(answer) == ["%d %s small" % (len(data), hashlib.md5(data).hexdigest())]


def test_output_is_streamed(site):
    s = site({"out.php": "mt_srand(1); $b = str_repeat('0123456789abcdef', 4096); for ($i = 0; $i < 640; $i++) echo $b; "
                         "error_log('peak ' . memory_get_peak_usage());"}, memory_limit="8M")
    answer = s.get("/out.php")
    assert len(answer.body) == 640 * 65536
    assert hashlib.md5(answer.body).digest() == hashlib.md5(b"0123456789abcdef" * 4096 * 640).digest()


def test_too_large_a_body_never_meets_the_script(site):
    s = site({"a.php": "touch('{mark}'); echo 'ran';"}, "LimitRequestBody 100000\n")
    mark = s.path("tmp", "ran")
    s.write("htdocs/a.php", "<?php touch('%s'); echo 'ran';" % mark)
    assert s.request("POST", "/a.php", {"Content-Type": "text/plain"}, b"x" * 100001).status == 413
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert s.request("POST", "/a.php", form, (b"a" * 10000 for _ in range(11))).status == 413
    assert not os.path.exists(mark)
    assert s.request("POST", "/a.php", form, b"x" * 100000).body == b"ran"
    assert os.path.exists(mark)


def test_a_broken_body_is_never_taken_for_a_whole_one(site):
    s = site({"a.php": "file_put_contents('{root}', '');"})
    mark = s.path("tmp", "log")
    s.write("htdocs/a.php", "<?php file_put_contents('%s', 'begin ', FILE_APPEND); $b = file_get_contents('php://input'); "
                            "file_put_contents('%s', 'end ' . strlen($b), FILE_APPEND); echo 'ok';" % (mark, mark))
    read = lambda: open(mark).read() if os.path.exists(mark) else ""
    head = b"PUT /a.php HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
    with s.connect() as c:
        c.sendall(head + b"x" * 100000)
        wait_until("the script runs", lambda: read() == "begin ")
    assert s.raw(b"PUT /a.php HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                 b"8000\r\n" + b"x" * 0x8000 + b"\r\nnonsense\r\n").startswith(b"HTTP/1.1 400")
    assert s.request("PUT", "/a.php", {}, b"x" * 200000).body == b"ok"
    assert read() == "begin begin begin end 200000"


# ---- output ----

def test_flush_sends_now(site):
    """The script goes on only when the client has what was flushed."""
    s = site({"a.php": ""}, output_buffering="0")
    mark = s.path("tmp", "go")
    s.write("htdocs/a.php", "<?php echo 'first'; flush(); while (!file_exists('%s')) { clearstatcache(); usleep(1000); } echo 'last';" % mark)
    with s.connect() as c:
        c.sendall(b"GET /a.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while b"first" not in got:
            got += c.recv(4096)
        assert b"last" not in got
        open(mark, "w").close()
        while True:
            piece = c.recv(4096)
            if not piece:
                break
            got += piece
    assert got.endswith(b"4\r\nlast\r\n0\r\n\r\n")


def test_implicit_flush_and_compression(site):
    s = site({"a.php": "ob_implicit_flush(); foreach (['a', 'b'] as $x) echo $x;", "z.php": "echo str_repeat('x', 100000);"},
             "<Files z.php>\nphp_flag zlib.output_compression on\n</Files>\n", output_buffering="0")
    raw = s.raw(b"GET /a.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert raw.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    packed = s.get("/z.php", {"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and len(packed.body) < 1000


def test_fibers_and_deep_recursion(site):
    """PHP's own fibers have stacks of their own, from which output may wait; recursion has as much stack as in httpd's main thread."""
    s = site({"f.php": "$f = new Fiber(function () { for ($i = 0; $i < 200; $i++) { echo str_repeat(chr(97 + $i % 26), 50000); Fiber::suspend(); } });"
                       "$f->start(); while (!$f->isTerminated()) $f->resume();",
              "r.php": "function f($n) { return $n ? array_map('f', [$n - 1])[0] + 1 : 0; } echo f(8000);"}, memory_limit="256M")
    answer = s.get("/f.php")
    assert answer.body == b"".join(bytes([97 + i % 26]) * 50000 for i in range(200))
    assert s.get("/r.php").body == b"8000"


def test_bad_fields_split_nothing(site):
    s = site({"a.php": "header(\"X-A: 1\\r\\nX-Evil: 1\"); header('Transfer-Encoding: chunked'); header('Content-Length: 1'); "
                       "header('X-Good: 1'); echo 'abc';", "b.php": "header('Foo bar: x'); echo 'abc';"})
    raw = s.raw(b"GET /a.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, body = raw.split(b"\r\n\r\n", 1)
    assert b"X-Good: 1" in head and b"Content-Length: 1\r\n" in head and body == b"a"
    assert b"Evil" not in head and b"chunked" not in head
    refused = s.raw(b"GET /b.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 500 ") and b"Foo" not in refused and b"abc" not in refused


def test_keep_alive(site):
    s = site({"a.php": "echo getmypid(), ' ', $_GET['n'];"})
    client = s.client()
    answers = []
    for i in range(20):
        client.request("GET", "/a.php?n=%d" % i)
        answers.append(client.getresponse().read().split())
    client.close()
    assert len({pid for pid, _ in answers}) == 1 and [int(n) for _, n in answers] == list(range(20))


# ---- other requests ----

def test_virtual(site):
    s = site({"a.php": "echo 'before '; var_dump(virtual($_GET['u'])); echo 'after';", "b.php": "echo 'never';", "t.txt": "text ",
              "d/index.php": "echo 'never';", "e.php": "include 'b.php';"},
             "DirectoryIndex index.php\n<Location /private>\nRequire all denied\n</Location>\n")
    assert s.get("/a.php?u=t.txt").body == b"before text bool(true)\nafter"
    for path in ("b.php", "/b.php?x=1", "/d/", "/a.php?u=t.txt"):
        assert s.get("/a.php?u=" + path).body == b"before bool(false)\nafter"
    assert "it is a PHP page, and PHP serves one request at a time" in s.error_log()
    assert s.get("/a.php?u=/private").body == b"before bool(false)\nafter"
    assert "Unable to include '/private' - error finding URI" in s.error_log()
    assert s.get("/e.php").body == b"never"  # the way out


def test_functions_of_the_server(site):
    s = site({"a.php": "echo json_encode([apache_get_version(), apache_get_modules(), headers_list(), apache_response_headers()]);"})
    version, modules, _, _ = json.loads(s.get("/a.php").body)
    assert version.startswith("Muster/")
    for name in ("core", "http_core", "prefork", "mod_so", "mod_alias", "mod_mime", "mod_php"):
        assert name in modules
    assert s.get("/a.php/").status == 200


def test_notes_users_and_environment_reach_the_log(site):
    s = site({"a.php": "apache_note('mine', 'noted'); apache_setenv('OWN', 'set'); echo 1;"},
             'LogFormat "%u %{mine}n %{OWN}e %>s %{mod_php_memory_usage}n" php\nCustomLog logs/access.log php\n')
    s.get("/a.php", {"Authorization": "Basic YWxpY2U6czpjcmV0"})
    line = wait_until("the line is there", lambda: open(s.path("logs", "access.log")).read().split())
    assert line[:4] == ["alice", "noted", "set", "200"] and int(line[4]) > 0


def test_errors_are_logged(site):
    s = site({"a.php": "trigger_error('one', E_USER_WARNING); echo 1;", "own/a.php": "trigger_error('two', E_USER_WARNING); echo 1;",
              "shown.php": "ini_set('display_errors', '1'); echo 'x'; trigger_error('three', E_USER_WARNING);"},
             "<Directory {root}/htdocs/own>\nphp_value error_log {root}/tmp/php.log\n</Directory>\n")
    for path in ("/a.php", "/own/a.php"):
        assert s.get(path).body == b"1"
    assert re.search(r"\[php:warn\] \[pid \d+:tid \d+\] \[client 127\.0\.0\.1:\d+\] MU1601: PHP Warning:  one in .*a\.php on line 1", s.error_log())
    assert "two" in open(s.path("tmp", "php.log")).read() and "two" not in s.error_log()
    assert b"Warning: three" in s.get("/shown.php").body


def test_what_is_no_script(site):
    s = site({"d.php/x.txt": "x", "a.php": "echo 1;"}, "<Location /d.php>\nSetHandler application/x-httpd-php\n</Location>\n"
             "DirectoryIndex disabled\n<Directory {root}/htdocs>\nOptions +Indexes\n</Directory>\n")
    assert s.get("/d.php/").status == 403
    assert s.get("/none.php").status == 404
    assert "attempt to invoke directory" in s.error_log() and "not found or unable to stat" in s.error_log()
