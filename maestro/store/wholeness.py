"""The proof that a view is whole: what each save leaves beside rows and checkpoint, and each read looks at.

A store may evict a key, another hand may delete or overwrite one: a view must not answer with what is left. So the
checkpoint holds how many entries each hash of rows and each index has, a row ends with a checksum over itself, its
view and its id, and the checkpoint has one over its own fields.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from maestro.model.errors import ViewDamaged
from maestro.store.contract import Checkpoint

SUM_BYTES = 4
FIELDS = ("seq", "chain", "at", "floor", "stopped", "sum")
"""What a checkpoint says, by name; beside them stand the sizes."""
SIZE = "#"
"""Stands before the name of a key in the field that tells its size."""


def sealed(view: str, row: str, data: bytes) -> bytes:
    """A row as it is stored."""
    return data + _row_sum(view, row, data)


def unsealed(generation: str, view: str, row: str, stored: bytes) -> bytes:
    """A row as it was saved. Raises ViewDamaged where it is another one."""
    data = stored[:-SUM_BYTES]
    if stored[-SUM_BYTES:] != _row_sum(view, row, data):
        raise ViewDamaged(generation, f"row {row!r} of {view} is damaged")
    return data


def _row_sum(view: str, row: str, data: bytes) -> bytes:
    name = f"{view}\0{row}".encode("utf-8", "surrogatepass")
    return zlib.crc32(data, zlib.crc32(name)).to_bytes(SUM_BYTES, "big")


def fields_of(checkpoint: Checkpoint) -> tuple[str | int, ...]:
    """Names and values of a checkpoint's fields, as they are stored."""
    values = (checkpoint.seq, checkpoint.chain, checkpoint.at, checkpoint.floor, checkpoint.stopped)
    told: tuple[str | int, ...] = (*values, _checkpoint_sum(values))
    return tuple(part for pair in zip(FIELDS, told, strict=True) for part in pair)


def checkpoint_of(generation: str, stored: Mapping[str, bytes | None]) -> Checkpoint:
    """The checkpoint that stored fields say; all zero where there are none. Raises ViewDamaged for altered ones."""
    if all(stored[name] is None for name in FIELDS):
        return Checkpoint()
    try:
        seq, chain, at, floor, stopped = (_text(stored[name]) for name in FIELDS[:-1])
        checkpoint = Checkpoint(int(seq), chain, int(at), int(floor), stopped)
        told = stored["sum"]
    except (ValueError, UnicodeDecodeError):
        raise ViewDamaged(generation, "its checkpoint is damaged") from None
    # Builds up to 1.2.0 left none: their views are only asked how far they are, and replaced.
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

    name: `rows:<view>` or `index:<view>:<index>`; known: the size as it is stored, None where none is.
    """
    told = 0 if known is None else known if isinstance(known, int) else int(known) if known.isdigit() else -1
    if told != found:
        raise ViewDamaged(generation, f"{name} holds {found} entries, not {told}")
