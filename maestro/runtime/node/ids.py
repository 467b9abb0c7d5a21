"""Ids of new tasks and commands, sortable by time, and the ids that idempotency keys stand for."""

from __future__ import annotations

import hashlib
import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MADE = "once-"
_last = 0


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))


def new_id() -> str:
    """A new ULID: 48 bits of milliseconds, 80 random bits; within a process always greater than the one before."""
    global _last
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    _last = number if number > _last else _last + 1
    return _base32(_last, 26)


def made_key() -> str:
    """A key for a dispatch without one, so that the dispatch can be repeated where its outcome is unknown."""
    return f"{_MADE}{new_id()}"


def id_of_key(namespace: str, key: str) -> str:
    """The task id that an idempotency key stands for: the same on every machine. A key of `made_key` contains it."""
    made = key.removeprefix(_MADE)
    if made != key and len(made) == 26 and set(made) <= set(_ALPHABET):
        return made
    digest = hashlib.sha256(f"{namespace}\0{key}".encode()).digest()
    return "K" + _base32(int.from_bytes(digest[:16], "big") >> 3, 25)


def id_of_delegated(namespace: str, run: str, number: int) -> str:
    """The id of the n-th task that a run dispatches, from 1. No key can make it: keys are printable."""
    return id_of_key(namespace, f"\0{run}\0{number}")
