"""Proof that a stored view is complete: sizes and checksums that each save writes and each read checks.

A server may evict a key, and another program may delete or overwrite one: a view must not answer with what is left. So
the checkpoint holds the number of entries of each hash of rows and each index, a row ends with a checksum over itself,
its view and its id, and the checkpoint has a checksum over its own fields.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache

from maestro.model.errors import ViewDamaged
from maestro.store.contract import Checkpoint

SUM_BYTES = 4
FIELDS = ("seq", "chain", "at", "floor", "stopped", "sum")
"""The names of a checkpoint's own fields; the sizes of the other keys are stored in the same hash."""
SIZE = "#"
"""The prefix of fields that hold the size of a key; the rest of the field name is the name of that key."""


def with_checksum(view: str, row: str, data: bytes) -> bytes:
    """A row with its checksum, as it is stored."""
    return data + _row_sum(view, row, data)


def without_checksum(generation: str, view: str, row: str, stored: bytes) -> bytes:
    """The row without its checksum. Raises ViewDamaged where the checksum does not match."""
    data = stored[:-SUM_BYTES]
    if stored[-SUM_BYTES:] != _row_sum(view, row, data):
        raise ViewDamaged(generation, f"row {row!r} of {view} is damaged")
    return data


def _row_sum(view: str, row: str, data: bytes) -> bytes:
    name = zlib.crc32(row.encode("utf-8", "surrogatepass"), _view_sum(view))
    return zlib.crc32(data, name).to_bytes(SUM_BYTES, "big")


@cache
def _view_sum(view: str) -> int:
    return zlib.crc32(f"{view}\0".encode())


def fields_of(checkpoint: Checkpoint) -> tuple[str | int, ...]:
    """Names and values of a checkpoint's fields, alternating, as they are stored."""
    values = (checkpoint.seq, checkpoint.chain, checkpoint.at, checkpoint.floor, checkpoint.stopped)
    told: tuple[str | int, ...] = (*values, _checkpoint_sum(values))
    return tuple(part for pair in zip(FIELDS, told, strict=True) for part in pair)


def checkpoint_of(generation: str, stored: Mapping[str, bytes | None]) -> Checkpoint:
    """The checkpoint in stored fields, all zero where there are none. Raises ViewDamaged for altered fields."""
    if all(stored[name] is None for name in FIELDS):
        return Checkpoint()
    try:
        seq, chain, at, floor, stopped = (_text(stored[name]) for name in FIELDS[:-1])
        checkpoint = Checkpoint(int(seq), chain, int(at), int(floor), stopped)
        told = stored["sum"]
    except (ValueError, UnicodeDecodeError):
        raise ViewDamaged(generation, "its checkpoint is damaged") from None
    # Builds up to 1.2.0 wrote no checksum: their views are only asked for their position, and then replaced.
    if told is not None and told != _checkpoint_sum((seq, chain, at, floor, stopped)).encode():
        raise ViewDamaged(generation, "its checkpoint is damaged")
    return checkpoint


def _text(field: bytes | None) -> str:
    if field is None:
        raise ValueError("a field is gone")
    return field.decode()


def _checkpoint_sum(values: tuple[str | int, ...]) -> str:
    return f"{zlib.crc32('|'.join(map(str, values)).encode('utf-8', 'surrogatepass')):08x}"


def check_size(generation: str, name: str, known: bytes | int | None, found: int) -> None:
    """Raise ViewDamaged unless a key holds as many entries as were saved.

    name: `rows:<view>` or `index:<view>:<index>`.
    known: the saved size as stored, None where none is.
    found: how many entries the key holds.
    """
    told = 0 if known is None else known if isinstance(known, int) else int(known) if known.isdigit() else -1
    if told != found:
        raise ViewDamaged(generation, f"{name} holds {found} entries, not {told}")
