"""One attempt at a delivery: an HTTP request to exactly the address that was checked, within one deadline.

The name is looked up once, its addresses are checked, and the request goes to one of those; Host and TLS keep the name.
So a name that leads elsewhere a moment later gains nothing. Redirects are not followed, proxies of the environment are
not used (they would look the name up again), and of the answer no more than its head is read.
"""

from __future__ import annotations

import email.utils
import logging
import os
import socket
import ssl
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence

import httpx
import msgspec
import trio

from maestro import __version__
from maestro.model.monitoring.deliveries import ASKED_MS_MAX
from maestro.monitor.webhook import address
from maestro.monitor.webhook.target import Target
from maestro.runtime.node.daemon_log import log

DEADLINE_S = 15.0
CONNECT_S = 4.0
ADDRESSES_MAX = 3
GONE = 410
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks up the addresses of a host. Raises OSError."""


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended. why: "" where the message was taken, else in words that name no host; status: of HTTP, 0
    without an answer; retry_s: what the receiver asks for; disabled: it wants nothing more.
    """

    status: int = 0
    why: str = ""
    retry_s: float | None = None
    disabled: bool = False


class Unsent(Exception):
    """Nothing was sent, for the reason given."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system knows them."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[4][0]) for where in found))


def trust() -> ssl.SSLContext:
    """Whom TLS believes: the authorities of the system (or of SSL_CERT_FILE), and those that come with httpx."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class Sender:
    """Makes attempts. allow_private: also at addresses that are not public. trusted: for TLS; resolver: of names."""

    def __init__(
        self, allow_private: bool = False, trusted: ssl.SSLContext | None = None, resolver: Resolver = resolve
    ) -> None:
        self._allow_private = allow_private
        self._trusted = trusted or trust()
        self._resolver = resolver
        for name in ("httpx", "httpcore"):  # both would log the URL
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def attempt(self, target: Target, headers: dict[str, str], body: bytes) -> Outcome:
        """Send a message once. It never takes longer than DEADLINE_S, and raises nothing of the network."""
        heard: list[Outcome] = []
        with trio.move_on_after(DEADLINE_S):
            try:
                await self._send(target, headers, body, heard)
            except Unsent as error:
                heard.append(Outcome(why=str(error)))
            except (httpx.HTTPError, OSError, ValueError) as error:
                heard.append(Outcome(why=_words(error)))
            except Exception as error:  # noqa: BLE001 - no receiver may end the monitor
                defect = f"the attempt failed by a defect: {type(error).__name__}"
                log.error(
                    "webhook: %s\n%s", defect, "".join(traceback.format_tb(error.__traceback__))
                )  # without its text
                heard.append(Outcome(why=defect))
        return heard[0] if heard else Outcome(why=f"no answer within {DEADLINE_S:g} s")

    async def _send(self, target: Target, headers: dict[str, str], body: bytes, heard: list[Outcome]) -> None:
        """Send it to the first address that can be connected to; the outcome, once the head of an answer is there."""
        async with httpx.AsyncClient(
            verify=self._trusted,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        ) as client:
            addresses = await self._addresses(target)
            for number, at in enumerate(addresses, 1):
                request = client.build_request(
                    "POST",
                    target.url.copy_with(host=at),
                    headers=_with_own(headers, target),
                    content=body,
                    extensions={"sni_hostname": target.host},
                )
                try:
                    answer = await client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    if number == len(addresses) or _tls(error) is not None:
                        raise
                    continue
                heard.append(_judged(answer.status_code, answer.headers))
                await answer.aclose()
                return

    async def _addresses(self, target: Target) -> Sequence[str]:
        """The addresses of the target that may be connected to. Raises Unsent where there is none."""
        try:
            found = await self._resolver(target.host, target.port)
        except (OSError, UnicodeError) as error:
            told = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
            raise Unsent(f"its name cannot be resolved{told}") from None
        kinds = {at: address.kind(at) for at in found}
        public = [at for at, kind in kinds.items() if (self._allow_private or not kind) and "%" not in at]
        if not public:
            which = ", ".join(sorted({kind for kind in kinds.values() if kind})) or "unknown"
            raise Unsent(f"its address is {which}, which needs --allow-private")
        return public[:ADDRESSES_MAX]


def _with_own(headers: dict[str, str], target: Target) -> dict[str, str]:
    own = {
        "host": target.url.netloc.decode("ascii"),
        "content-type": "application/json",
        "user-agent": f"maestro/{__version__}",
        "accept-encoding": "identity",
    }
    if target.authorization:
        own["authorization"] = target.authorization
    return own | headers


def _judged(status: int, headers: httpx.Headers) -> Outcome:
    """What an answer means."""
    if 200 <= status < 300:
        return Outcome(status)
    retry_s = retry_after(headers.get("retry-after", ""), time.time())
    if status == GONE:
        return Outcome(status, "it answered 410: it wants nothing more", retry_s, disabled=True)
    if 300 <= status < 400:
        return Outcome(status, f"it answered {status}: a redirect, which is not followed", retry_s)
    return Outcome(status, f"it answered {status}", retry_s)


def retry_after(text: str, now_s: float) -> float | None:
    """The seconds that a Retry-After asks for, as a number or as a date, a day at most; None for what is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), ASKED_MS_MAX / 1000)
    try:
        asked = email.utils.parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return min(max(0.0, asked), ASKED_MS_MAX / 1000)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        tries = error.exceptions if isinstance(error, BaseExceptionGroup) else ()  # of one connection
        error = tries[0] if tries else error.__cause__ or error.__context__


def _tls(error: BaseException) -> ssl.SSLError | None:
    return next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)


def _words(error: Exception) -> str:
    """What went wrong, without the name or the address of the receiver."""
    tls = _tls(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return f"TLS failed: its certificate is not valid: {tls.verify_message.split(', certificate')[0].rstrip('.')}"
    if tls is not None:
        return f"TLS failed: {(tls.reason or 'the handshake broke off').replace('_', ' ').lower()}"
    number = next((cause.errno for cause in _causes(error) if isinstance(cause, OSError) and cause.errno), None)
    told = f": {os.strerror(number)}" if number else ""
    match error:
        case httpx.ConnectTimeout():
            return f"no connection within {CONNECT_S:g} s"
        case httpx.ConnectError():
            return f"it cannot be connected to{told}"
        case httpx.RemoteProtocolError():
            return "its answer breaks off, or is no HTTP"
        case _:
            return f"the connection broke{told}"
