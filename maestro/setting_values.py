"""Values of settings: parsers of texts, each raising ValueError with what is wrong and, behind `; `, the remedy."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable

from maestro.model.duration import UNITS_MS, duration_forms, duration_ms

URL_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
WEBHOOK_KEY_BYTES_MIN, WEBHOOK_KEY_BYTES_MAX = 24, 64  # what Standard Webhooks asks for
FSYNC_MODES = ("always", "everysec")
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def whole(least: int, most: int, example: str) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`. example: a value to propose in the error."""

    def parse(text: str) -> int:
        if re.fullmatch(r"\+?[0-9]{1,12}", text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"is not a whole number from {least} to {most}; set it to {example}, or unset it")

    return parse


def duration(unit: str, most: int) -> Callable[[str], int]:
    """A parser of durations of 1 to `most` units; a bare number is one of units, too, and nothing is rounded."""

    def parse(text: str) -> int:
        found = duration_ms(text, unit)
        if found is not None and found % UNITS_MS[unit] == 0 and 1 <= found // UNITS_MS[unit] <= most:
            return found // UNITS_MS[unit]
        name = {"s": "seconds", "d": "days"}[unit]
        raise ValueError(f"is no duration of 1 to {most} whole {name}; {duration_forms(unit)}")

    return parse


def switch(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError("is neither true nor false; set it to true or false, or unset it")
    return _WORDS[text.lower()]


def log_level(text: str) -> str:
    level = "WARN" if text.upper() == "WARNING" else text.upper()
    if level not in LOG_LEVELS:
        raise ValueError(f"is no log level; set it to one of {', '.join(LOG_LEVELS)}")
    return level


def labels(text: str) -> tuple[str, ...]:
    found = [name.strip() for name in text.split(",")]
    if all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) for name in found):
        return tuple(sorted(set(found)))
    raise ValueError("are no labels; use names of letters, digits, `.`, `_` and `-`, separated by commas")


def namespace(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("is no namespace; use 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first")
    return text


def fsync(text: str) -> str:
    if text not in FSYNC_MODES:
        raise ValueError(f"is no fsync mode; set it to {' or '.join(FSYNC_MODES)}")
    return text


def webhook_secrets(text: str) -> tuple[bytes, ...]:
    """The keys of secrets as Standard Webhooks writes them. No error tells any of it."""
    keys = []
    for number, secret in enumerate(re.split(r"[,\s]+", text.strip(", \t\r\n")), 1):
        encoded = secret.removeprefix("whsec_").rstrip("=")
        try:
            key = binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4), strict_mode=True)
        except ValueError:
            key = b""
        if not secret.startswith("whsec_") or not WEBHOOK_KEY_BYTES_MIN <= len(key) <= WEBHOOK_KEY_BYTES_MAX:
            which = f"has a part, the {number}., that is" if number > 1 else "is"
            raise ValueError(
                f"{which} no webhook secret; write whsec_ and {WEBHOOK_KEY_BYTES_MIN} to {WEBHOOK_KEY_BYTES_MAX} bytes"
                " in base64, several with a comma between them: echo whsec_$(head -c 32 /dev/urandom | base64)"
            )
        keys.append(key)
    return tuple(keys)


def token(text: str) -> str:
    """A token of a header. No error tells any of it."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,512}", text):
        raise ValueError(
            "is no token: 16 to 512 letters, digits and `._~+/=-`; make one: head -c 24 /dev/urandom | base64"
        )
    return text


def url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in URL_SCHEMES:
        raise ValueError(f"is no store URL; begin it with one of {', '.join(f'{known}://' for known in URL_SCHEMES)}")
    if re.search(r"[\s\x00-\x1f]", text):
        raise ValueError("has a space or a control character in it; percent-encode it")
    if scheme == "unix":
        if not rest.rpartition("@")[2].startswith("/"):
            raise ValueError("names no absolute socket path; write unix:///path/to/server.sock")
        return text
    hosts = re.split(r"[/?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    sentinel = scheme.endswith("+sentinel")
    for host in hosts.split(","):
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:,\[\]]+)(:[0-9]{1,5})?", host):
            raise ValueError(f"names no host and port; write {scheme}://host:port")
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not 0 < int(port) < 65536:
            raise ValueError(f"has the impossible port {port}; ports are 1 to 65535")
    if sentinel and not re.search(r"[^@,]/[^/?#]", rest):
        raise ValueError(f"names no service; write {scheme}://host:26379/service")
    return text


def archive_url(text: str) -> str | None:
    """The URL of a shared archive, None for `none`, which is no archive. Secrets have no place in it."""
    if text == "none":
        return None
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("file", "s3"):
        raise ValueError(
            "is no URL of an archive; write file:///folder/that/all/nodes/reach or s3://bucket/prefix, or none"
        )
    if re.search(r"[\s\x00-\x1f\x7f?#@]", rest):
        raise ValueError(
            "has a space, `@`, `?`, `#` or a control character in it; percent-encode it in file:///…, and give"
            " credentials as AWS_* variables"
        )
    if scheme == "file":
        path = re.sub(r"%([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), rest)
        if not rest.startswith("/") or "\0" in path or any(part in (".", "..") for part in path.split("/")):
            raise ValueError("names no absolute folder; write file:///folder/that/all/nodes/reach")
        if not path.strip("/"):
            raise ValueError("is the root of the file system; name a folder in it")
        return f"file://{rest.rstrip('/')}"
    bucket, _, prefix = rest.partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise ValueError("names no bucket; write s3://bucket/prefix, the bucket in small letters, digits, `.` and `-`")
    parts = prefix.strip("/").split("/") if prefix.strip("/") else []
    if not all(re.fullmatch(r"[A-Za-z0-9!_.*'()-]+", part) and part not in (".", "..") for part in parts):
        raise ValueError("has an impossible prefix; use letters, digits and `!_.*'()-`, with one `/` between parts")
    return "/".join([f"s3://{bucket}", *parts])
