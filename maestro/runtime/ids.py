"""Ids made by the shell: sortable by time for new things, deterministic for idempotency keys."""

from __future__ import annotations

import os
import re
import time

_MADE = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_last = 0


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))


def new_id() -> str:
    """A ULID: 48 bits of milliseconds, 80 of chance; within a process always greater than the one before."""
    global _last
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    _last = number if number > _last else _last + 1
    return _base32(_last, 26)


def is_made(key: str) -> bool:
    """Whether a key is an id of `new_id`: one that a dispatch without a key was given."""
    return _MADE.fullmatch(key) is not None


def same_call(key: str) -> str:
    """How to repeat a dispatch whose outcome is unknown."""
    return f"repeat it with --key {key}: that is the same call, and the same task"


def id_of_key(namespace: str, key: str) -> str:
    """The task id that `--key` stands for: the same key gives the same id on every machine."""
    import hashlib  # a command line that only makes an id does not pay for it

    digest = hashlib.sha256(f"{namespace}\0{key}".encode()).digest()
    return "K" + _base32(int.from_bytes(digest[:16], "big") >> 3, 25)
