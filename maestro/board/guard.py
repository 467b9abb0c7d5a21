"""The guard of the board: who may ask it, and what a browser may do with its answers.

Any program of this host, and any page that a browser shows, can send requests to a port on loopback. So each must name
the board itself as its host (a foreign name that resolves to loopback does not), and bring the cookie that only the
entrance gives; what changes something must also come from the board's own page, and bring a token that no other page
can read. Pure: what a request brings goes in, a refusal comes out.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from maestro.board.refusal import Unfit

SCHEME = "http://"
NAMES = ("127.0.0.1", "localhost", "[::1]")
"""The names of this host that a browser may have: the last ones are for a forwarded port (`ssh -L`)."""
HTTP_PORT = 80
METHODS = ("GET", "HEAD", "POST")
OWN_FETCHES = ("", "same-origin", "none")
"""Values of Sec-Fetch-Site for what the board's page asks for, or a person typed; "" of a program without it."""
TOKEN_HEADER = "X-Maestro-Token"
PRINTED = "open the address that `maestro board` has printed"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every answer. An answer that names no Cache-Control is not stored."""
NOT_STORED = "no-store"


class Keys(NamedTuple):
    """What lets in: the value of the cookie, and the token of a POST."""

    cookie: str
    token: str


class Asked(NamedTuple):
    """What the guard looks at in a request: every value of each header, as a header may be sent twice."""

    method: str
    path: str
    host: Sequence[str]
    origin: Sequence[str]
    site: Sequence[str]
    cookie: Sequence[str]
    token: Sequence[str]


def cookie_name(port: int) -> str:
    """The name of the cookie of a board at a port. Browsers send a host's cookies to all of its ports."""
    return f"maestro-board-{port}"


def hosts(port: int) -> frozenset[str]:
    """What a Host header may say of a board at a port."""
    named = frozenset(f"{name}:{port}" for name in NAMES)
    return named | frozenset(NAMES) if port == HTTP_PORT else named


def check(asked: Asked, port: int, keys: Keys) -> None:
    """Let a request pass, or raise Unfit."""
    check_address(asked, port)
    if not has_cookie(asked, port, keys):
        raise Unfit(401, "no_cookie", "this browser has not entered the board", PRINTED)
    if asked.method == "POST":
        _check_post(asked, keys)


def check_address(asked: Asked, port: int) -> None:
    """Refuse what is not meant for this board, with or without its cookie. Raises Unfit."""
    if asked.method not in METHODS:
        raise Unfit(405, "method", f"the method {asked.method[:20]!r} is not known", "use GET or POST")
    host = _only(asked.host).lower()
    if host not in hosts(port):
        raise Unfit(403, "host", f"the board is not at {host[:80]!r}", f"its address is {SCHEME}{NAMES[0]}:{port}/")
    origin = _only(asked.origin) if asked.origin else ""
    if asked.origin and origin != f"{SCHEME}{host}":
        raise Unfit(403, "origin", f"{origin[:80]!r} may not ask the board", PRINTED)
    if asked.path != "/" and not all(site in OWN_FETCHES for site in asked.site):
        raise Unfit(403, "origin", "another site's page may not ask the board", PRINTED)


def has_cookie(asked: Asked, port: int, keys: Keys) -> bool:
    """Whether a request brings the cookie of this board, be it beside others of that name."""
    return any(_same(value, keys.cookie) for value in _cookies(asked.cookie, cookie_name(port)))


def _check_post(asked: Asked, keys: Keys) -> None:
    if not asked.origin:
        raise Unfit(401, "no_origin", "a POST names its Origin", "send the board's own address as Origin")
    if not _same(_only(asked.token), keys.token):
        mend = f"send the token of /api/session as {TOKEN_HEADER}; a page that is older than this board: reload it"
        raise Unfit(401, "no_token", "the token of this POST is missing or not that of this board", mend)


def _only(values: Sequence[str]) -> str:
    """The value of a header that may be sent once; "" where it is missing or sent twice."""
    return values[0] if len(values) == 1 else ""


def _cookies(headers: Iterable[str], name: str) -> Iterable[str]:
    for header in headers:
        for part in header.split(";"):
            key, _, value = part.strip(" \t").partition("=")
            if key == name:
                yield value


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
