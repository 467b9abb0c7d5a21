"""Blobs, on every store."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from maestro.model.errors import VerificationFailed
from maestro.store.contract import Store
from maestro.store.keys import Keys
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore


@pytest.mark.parametrize("data", [b"", b"x", "é\0\r\n".encode(), bytes(range(256)) * 100])
def test_a_blob_is_named_by_its_content(store: Store, data: bytes) -> None:
    assert store.blobs.put(data) == store.blobs.put(data) == sha256(data).hexdigest()
    assert store.blobs.get(sha256(data).hexdigest()) == data


def test_an_unknown_blob_is_none(store: Store) -> None:
    assert store.blobs.get("0" * 64) is None


def test_sixteen_mebibytes_that_cannot_be_compressed(store: Store) -> None:
    data = os.urandom(16 << 20)
    assert store.blobs.get(store.blobs.put(data)) == data


def test_only_old_blobs_that_nobody_names_are_collected(store: Store) -> None:
    kept, dead = store.blobs.put(b"kept"), store.blobs.put(b"dead")
    assert store.blobs.collect(frozenset([kept]), 3_600_000) == 0
    assert store.blobs.collect(frozenset([kept]), 0) == 1
    assert store.blobs.get(dead) is None
    assert store.blobs.get(kept) == b"kept"
    assert store.blobs.collect(frozenset(), 0) == 1


def test_a_damaged_blob_is_refused_by_name(
    shared_server: Callable[[str], Any], server_kind: str, open_at: Callable[..., RedisStore], namespace: str
) -> None:
    url = shared_server(server_kind).url
    store, keys, hand = open_at(url), Keys(namespace), Dialler(url, 5)()
    name, other = store.blobs.put(b"some text " * 100), store.blobs.put(b"another")
    frame = hand.call("GET", keys.blob(name))
    for at in range(0, len(frame), 3):
        damaged = bytearray(frame)
        damaged[at] ^= 0x10
        hand.call("SET", keys.blob(name), bytes(damaged))
        try:
            assert store.blobs.get(name) == b"some text " * 100  # a bit of the header that says nothing
        except VerificationFailed as error:
            assert name in error.line()
    hand.call("SET", keys.blob(name), frame[:-1])
    with pytest.raises(VerificationFailed):
        store.blobs.get(name)
    hand.call("SET", keys.blob(name), hand.call("GET", keys.blob(other)))
    with pytest.raises(VerificationFailed):
        store.blobs.get(name)
    store.erase()
