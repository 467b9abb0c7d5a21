"""A tree's list of entries, stored as chunks: complete for each snapshot, and shared between snapshots where equal.

Entries in order of path are cut into leaves where the CRC of a path says so, about sixteen entries to a leaf. The
digests of the leaves are cut into lists in the same way, level by level, until one list is left: the root. One changed
entry changes one leaf and the few lists above it, and no list refers to another snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import msgspec

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format.entries import DIGEST_BYTES, Entry

_LEAF_MASK, _LEAF_MAX = 15, 256
_LIST_MASK, _LIST_MAX = 31, 512
_DEPTH_MAX = 12

_entry_encoder = msgspec.msgpack.Encoder()
_entry_decoder = msgspec.msgpack.Decoder(list[Entry])

Put = Callable[[bytes], bytes]
Fetch = Callable[[Sequence[bytes]], dict[bytes, bytes]]


def write(entries: Sequence[Entry], put: Put) -> tuple[bytes, int]:
    """Store the list of a tree; the digest of its root, and its depth.

    entries: in order of path, at least one.
    put: stores a chunk and returns its digest.
    """
    level: list[bytes] = []
    leaf: list[Entry] = []
    for entry in entries:
        leaf.append(entry)
        if not crc32(entry.path) & _LEAF_MASK or len(leaf) >= _LEAF_MAX:
            level.append(put(_entry_encoder.encode(leaf)))
            leaf = []
    if leaf:
        level.append(put(_entry_encoder.encode(leaf)))
    depth = 1
    while len(level) > 1:
        level = [put(b"".join(part)) for part in _lists(level)]
        depth += 1
    return level[0], depth


def read(root: bytes, depth: int, fetch: Fetch) -> tuple[list[Entry], list[bytes]]:
    """The entries of a tree, and the digests of all chunks that make up its list. Raises `VerificationFailed`.

    fetch: returns the bytes of the asked digests, each checked against its digest.
    """
    if not 0 < depth <= _DEPTH_MAX:
        raise VerificationFailed("its listing has an impossible depth", where="manifest")
    level, seen = [root], [root]
    for _ in range(depth - 1):
        found = fetch(level)
        deeper: list[bytes] = []
        for digest in level:
            content = found[digest]
            if len(content) % DIGEST_BYTES:
                raise VerificationFailed("its listing is no listing", where="manifest")
            deeper.extend(content[at : at + DIGEST_BYTES] for at in range(0, len(content), DIGEST_BYTES))
        level = deeper
        seen.extend(level)
    found = fetch(level)
    entries: list[Entry] = []
    try:
        for digest in level:
            entries.extend(_entry_decoder.decode(found[digest]))
    except msgspec.MsgspecError as error:
        raise VerificationFailed(f"its listing cannot be read: {error}", where="manifest") from None
    return entries, seen


def read_left(root: bytes, depth: int, fetch: Fetch) -> list[Entry]:
    """The entries of a tree whose list is damaged, as far as its chunks are readable.

    fetch: as in `read`, but leaves damaged chunks out of its answer.
    """
    if not 0 < depth <= _DEPTH_MAX:
        return []
    level = [root]
    for _ in range(depth - 1):
        found = fetch(level)
        contents = [found[digest] for digest in level if digest in found]
        level = [
            content[at : at + DIGEST_BYTES]
            for content in contents
            for at in range(0, len(content) - DIGEST_BYTES + 1, DIGEST_BYTES)
        ]
    found = fetch(level)
    entries: list[Entry] = []
    for digest in level:
        if digest in found:
            try:
                entries.extend(_entry_decoder.decode(found[digest]))
            except msgspec.MsgspecError:
                continue
    return entries


def _lists(digests: Sequence[bytes]) -> list[list[bytes]]:
    """Group digests into lists of two or more, so that each level is shorter than the one below it."""
    parts: list[list[bytes]] = []
    part: list[bytes] = []
    for digest in digests:
        part.append(digest)
        if len(part) > 1 and (not digest[0] & _LIST_MASK or len(part) >= _LIST_MAX):
            parts.append(part)
            part = []
    if part:
        parts.append(part)
    return parts
