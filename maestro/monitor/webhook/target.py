"""A webhook as its user names it: a URL, checked before anything is begun. Only its host is ever shown."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

import httpx
import msgspec

from maestro.model.errors import Invalid
from maestro.monitor.webhook import address

OPTION = "--alert-webhook"
URL_CHARS_MAX = 2048
ID_CHARS = 16
PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=[^.])[A-Za-z0-9._-]{1,253}|(?=.*:)[0-9A-Fa-f:.]{2,45}(%25[A-Za-z0-9._-]{1,16})?")


class Target(msgspec.Struct, frozen=True):
    """Where alerts are sent. id: a digest of the URL, which stands for it in the log. host: its name, or its address.

    url: without user and password, which are in `authorization`. Its representation tells the host only.
    """

    id: str
    url: httpx.URL
    host: str
    port: int
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Target({self.id}, {self.host})"


def targets(urls: Sequence[str], allow_private: bool = False) -> list[Target]:
    """The webhooks of URLs, each once. Raises Invalid in one line, which tells of a URL what is wrong, and no more."""
    found = [_target(url.strip(), allow_private) for url in urls]
    return list({target.id: target for target in found}.values())


def _target(text: str, allow_private: bool) -> Target:
    if re.search(r"[\s\x00-\x20\x7f]", text) or len(text) > URL_CHARS_MAX:
        raise _invalid(f"it has a space or a control character in it, or more than {URL_CHARS_MAX} characters")
    try:
        whole = httpx.URL(text)
        url = whole.copy_with(username=None, password=None, fragment=None)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        raise _invalid("it is no URL") from None
    if url.scheme not in PORTS:
        raise _invalid("it does not begin with https:// or http://")
    if not _HOST.fullmatch(host):
        raise _invalid("it names no host")
    port = PORTS[url.scheme] if url.port is None else url.port
    if not 0 < port < 65536:
        raise _invalid(f"it has the impossible port {port}")
    _check_literal(host, allow_private)
    digest = hashlib.sha256(str(whole.copy_with(fragment=None)).encode()).hexdigest()
    user = f"{whole.username}:{whole.password}".encode()
    authorization = f"Basic {base64.b64encode(user).decode()}" if whole.userinfo else ""
    return Target(digest[:ID_CHARS], url, host, port, authorization)


def _check_literal(host: str, allow_private: bool) -> None:
    """Refuse an address that is not public right away. A name is looked up when something is sent, each time."""
    try:
        kind = address.kind(host)
    except ValueError:
        return
    if kind and not allow_private:
        raise Invalid(f"its address is {kind}", OPTION, "if this is meant, add --allow-private")


def _invalid(what: str) -> Invalid:
    return Invalid(
        f"alerts cannot be sent there: {what}", OPTION, "give a URL such as https://example.com/hooks/maestro"
    )
