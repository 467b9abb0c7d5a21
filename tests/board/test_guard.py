"""Who may ask the board: the guard's rules, and the running board asked by raw HTTP."""

from __future__ import annotations

import socket
import urllib.parse
from collections.abc import Iterator
from itertools import count

import pytest

from maestro.board import guard
from maestro.board.guard import Asked, Keys
from maestro.board.refusal import Unfit
from tests.board.boards import RunningBoard, answer_of
from tests.installation import Installation

PORT = 7777
KEYS = Keys("the-cookie", "the-token")
HOST = f"127.0.0.1:{PORT}"
COOKIE = f"maestro-board-{PORT}=the-cookie"


def asked(method: str = "GET", path: str = "/api/log", host: str | None = HOST, **given: str) -> Asked:
    """A request. given: origin, site, cookie, token, each once; several values are parted by `|`."""
    values = {name: tuple(given[name].split("|")) if name in given else () for name in ("origin", "site", "token")}
    hosts = () if host is None else tuple(host.split("|"))
    return Asked(method, path, host=hosts, cookie=(given.get("cookie", COOKIE),), **values)


def refused(request: Asked, port: int = PORT) -> tuple[int, str]:
    """The status and code of the refusal; (0, "") where the request passes."""
    try:
        guard.check(request, port, KEYS)
    except Unfit as error:
        assert error.mend
        return error.status, error.named
    return 0, ""


@pytest.mark.parametrize("host", [HOST, "localhost:7777", "LOCALHOST:7777", "[::1]:7777"])
def test_the_board_is_asked_by_the_names_of_loopback(host: str) -> None:
    assert refused(asked(host=host)) == (0, "")
    assert refused(asked("POST", host=host, origin=f"http://{host.lower()}", token=KEYS.token)) == (0, "")


@pytest.mark.parametrize(
    "host",
    [
        *("", "127.0.0.1", "localhost", "127.0.0.1:7778", "evil.example:7777", "evil.example", "[::1]", "::1:7777"),
        *(
            "127.0.0.1:7777.evil.example",
            "127.0.0.1.evil.example:7777",
            "localhost.:7777",
            "0.0.0.0:7777",
            "127.1:7777",
        ),
        *("127.0.0.1:07777", "[::ffff:127.0.0.1]:7777", "a@127.0.0.1:7777", f"{HOST}|{HOST}", f"{HOST}|evil.example"),
        *("[0:0:0:0:0:0:0:1]:7777", "127.0.0.1:7777 ", "127.0.0.1:7777,evil.example"),
    ],
)
def test_another_host_is_refused(host: str) -> None:
    assert refused(asked(host=host)) == (403, "host")
    assert refused(asked(host=None)) == (403, "host")


def test_at_the_port_of_http_the_host_needs_no_port() -> None:
    cookie = "maestro-board-80=the-cookie"
    assert [refused(asked(host=host, cookie=cookie), 80)[0] for host in ("localhost", "[::1]:80", "evil")] == [
        0,
        0,
        403,
    ]


@pytest.mark.parametrize(
    "cookie",
    [
        *("", "the-cookie", f"maestro-board-{PORT}=", f"maestro-board-{PORT}=the-cookie-", f"maestro-board-{PORT}=the"),
        *("maestro-board-7778=the-cookie", f"Maestro-Board-{PORT}=the-cookie", f"xmaestro-board-{PORT}=the-cookie"),
        *(f'maestro-board-{PORT}="the-cookie"', f"a=maestro-board-{PORT}=the-cookie", f"maestro-board-{PORT}=\xff"),
    ],
)
def test_without_this_boards_cookie_nothing_is_told(cookie: str) -> None:
    assert refused(asked(cookie=cookie)) == (401, "no_cookie")


def test_the_cookie_counts_beside_others_even_of_its_name() -> None:
    assert refused(asked(cookie=f"a=b; maestro-board-{PORT}=tossed;{COOKIE}; c")) == (0, "")


def test_a_post_needs_its_origin_and_the_token() -> None:
    own = f"http://{HOST}"
    assert refused(asked("POST", origin=own, token=KEYS.token)) == (0, "")
    assert refused(asked("POST", token=KEYS.token)) == (401, "no_origin")
    for token in ("", "wrong", KEYS.cookie, f"{KEYS.token}|{KEYS.token}"):
        assert refused(asked("POST", origin=own, token=token)) == (401, "no_token")
    assert refused(asked("POST", origin=own)) == (401, "no_token")
    assert refused(asked("POST", origin=own, token=KEYS.token, cookie="")) == (401, "no_cookie")


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://evil.example", "https://127.0.0.1:7777", "http://127.0.0.1", "http://localhost:7777"),
        *("http://127.0.0.1:7778", "http://127.0.0.1:7777/", "http://127.0.0.1:7777|http://127.0.0.1:7777"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(origin: str, method: str) -> None:
    assert refused(asked(method, origin=origin, token=KEYS.token)) == (403, "origin")


def test_pages_of_other_sites_and_other_ports_may_not_ask_with_the_cookie_that_browsers_send_for_them() -> None:
    assert [refused(asked(site=site))[0] for site in ("same-origin", "none", "same-site", "cross-site", "x")] == [
        *(0, 0, 403, 403, 403)
    ]
    assert refused(asked(path="/", site="cross-site")) == (0, "")  # a link that leads to the page


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get"])
def test_other_methods_are_refused(method: str) -> None:
    assert refused(asked(method)) == (405, "method")


# ---- the running board ----


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBoard]:
    """A board over a namespace without any event."""
    with Installation(tmp_path_factory.mktemp("guarded")) as installation:
        with RunningBoard(installation) as running:
            yield running
        assert not (installation.home / "daemon.sock").exists()  # looking starts no daemon


def test_every_answer_has_the_headers_that_keep_a_browser_to_the_board(here: RunningBoard) -> None:
    for status, headers, _ in (
        here.ask("/"),
        here.ask("/app/main.js"),
        here.ask("/api/log"),
        here.ask("/api/none"),
        here.raw("GET / HTTP/1.1\r\n"),
        here.raw("GET /api/log HTTP/1.1\r\n", host="evil.example"),
    ):
        assert "default-src 'none'" in headers["content-security-policy"], status
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] in ("no-store", "no-cache")
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_the_printed_address_lets_in_once(here: RunningBoard) -> None:
    path = here.url.partition(f":{here.port}")[2]
    assert here.raw(f"GET {path} HTTP/1.1\r\n")[0] == 401
    status, headers, body = here.raw(f"GET {path} HTTP/1.1\r\nAccept: text/html\r\n")
    assert (status, "set-cookie" in headers, b"before" in body) == (401, False, True)
    status, headers, _ = here.ask(path)  # whoever is in is led to the page, whose address has no token
    assert (status, headers["location"]) == (303, "/")
    for token in ("", "a" * 43, "%ff%fe", "é", "a&token=b"):
        assert here.raw(f"GET /?token={urllib.parse.quote(token, safe='%&=')} HTTP/1.1\r\n")[0] == 401


def test_the_cookie_is_of_the_port_and_for_the_browser_alone(here: RunningBoard, tmp_path_factory: object) -> None:
    name, _, value = here.cookie.partition("=")
    assert name == f"maestro-board-{here.port}"
    assert here.raw(f"GET /api/log HTTP/1.1\r\nCookie: maestro-board-{here.port + 1}={value}\r\n")[0] == 401
    assert here.raw(f"GET / HTTP/1.1\r\nCookie: {name}=\r\n")[0] == 401
    assert here.raw("GET /app/main.js HTTP/1.1\r\n")[0] == 401


def test_a_link_on_another_site_leads_to_the_page_all_the_same(here: RunningBoard) -> None:
    status, _, body = here.raw("GET / HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\n")  # the strict cookie is kept back
    assert (status, b"/?within" in body) == (401, True)
    status, _, body = here.raw("GET /?within HTTP/1.1\r\nSec-Fetch-Site: same-origin\r\n")
    assert (status, b"refresh" in body) == (401, False)
    assert here.ask("/?within", "Sec-Fetch-Site: same-origin")[0] == 200


def test_posts_and_hosts_are_checked_over_the_wire(here: RunningBoard) -> None:
    cookie, own = f"Cookie: {here.cookie}\r\n", f"Origin: {here.base}\r\n"
    token = f"X-Maestro-Token: {here.token}\r\n"
    post = "POST /api/do HTTP/1.1\r\nContent-Length: 0\r\n"
    assert [
        here.raw(post + lines)[0]
        for lines in (own + token, cookie + token, cookie + own, cookie + token + "Origin: http://evil.example\r\n")
    ] == [401, 401, 401, 403]
    for host in ("evil.example", f"evil.example:{here.port}", f"127.0.0.1:{here.port + 1}", f"[::2]:{here.port}"):
        assert here.raw(f"GET /api/log HTTP/1.1\r\n{cookie}", host=host)[0] == 403, host
    assert here.raw(f"GET /api/log HTTP/1.1\r\n{cookie}", host=f"[::1]:{here.port}")[0] == 200
    assert here.raw(f"GET http://evil.example/api/log HTTP/1.1\r\n{cookie}", host="evil.example")[0] == 403
    assert here.raw(f"GET /api/log HTTP/1.1\r\nOrigin: http://localhost:{here.port}\r\n{cookie}")[0] == 403


def test_only_loopback_listens(here: RunningBoard) -> None:
    with open("/proc/net/tcp") as file:
        found = [line.split()[1] for line in file if line.split()[1].endswith(f":{here.port:04X}")]
    assert set(found) <= {f"0100007F:{here.port:04X}"}
    with open("/proc/net/tcp6") as file:
        assert not [line for line in file if line.split()[1].endswith(f":{here.port:04X}") and line.split()[3] == "0A"]


@pytest.mark.parametrize(
    "path",
    [
        *("/app/../board.py", "/app/..%2fboard.py", "/app/%2e%2e/board.py", "/app//etc/passwd", "/app/.hidden.js"),
        *("/app/%00.js", "/app/panels/../../server.py", "/app/", "/app/panels", "/app/index.py", "/app/..%5cx.js"),
        *("/app/%2fetc/passwd.js", "/app/a%0d%0aX: y.js", "/api/view/..%2f", f"/app/{'a' * 3000}.js", "/favicon.ico"),
    ],
)
def test_nothing_but_the_pages_files_is_served(here: RunningBoard, path: str) -> None:
    assert here.ask(path.replace(" ", "%20"))[0] in (400, 404)


HOSTILE = (
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%ff%fe%00?token=%ff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"POST /api/do HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /api/do HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/do HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: \xff\xfe\x80=\xff\r\n\r\n",
    b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2_000 + b"\r\n",
)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_hostile_request_gets_in_or_ends_the_board(here: RunningBoard, number: int) -> None:
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as link:
        try:
            link.sendall(HOSTILE[number])
            link.shutdown(socket.SHUT_WR)
            found = link.recv(65536)
        except OSError:  # cut off at once
            found = b""
    assert b"HTTP/1.1 2" not in found and b"head" not in found, found[:300]
    assert here.process.poll() is None
    assert here.get("/api/session")["namespace"]


def test_connections_that_say_nothing_or_break_off_harm_nobody(here: RunningBoard) -> None:
    idle = [socket.create_connection(("127.0.0.1", here.port)) for _ in range(100)]
    for number, link in zip(count(), idle, strict=False):
        link.sendall(b"GET /api/log HT" if number % 2 else b"")
    assert here.get("/api/log")["head"] == 0
    for link in idle:
        link.close()
    assert here.get("/api/log")["head"] == 0


def test_a_connection_is_kept_from_one_request_to_the_next(here: RunningBoard) -> None:
    request = f"GET /api/log HTTP/1.1\r\nHost: 127.0.0.1:{here.port}\r\nCookie: {here.cookie}\r\n"
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as link:
        for _ in range(3):
            link.sendall(f"{request}\r\n".encode())
            found = b""
            while b'"stopped":null}' not in found:
                found += link.recv(65536)
            assert found.startswith(b"HTTP/1.1 200")
        link.sendall(f"{request}Connection: close\r\n\r\n".encode())
        assert answer_of(link)[0] == 200
