"""The facts that the log holds, one module a kind of subject: what each of them is, and the texts they carry.

All are gathered, named and made public in `maestro.model.events`; import them from there.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class BlobRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text kept outside the log because of its size. blob: SHA-256 in hex; size: bytes, uncompressed.

    executable: of a file that a step leaves, whether it may be executed.
    """

    blob: str
    size: int
    executable: bool = False


Text: TypeAlias = str | BlobRef


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The base of all facts. Every field has the meaning that the docstring of its fact gives it.

    gc: data from JSON has no cycles, and a replay holds hundreds of thousands that nobody needs to look through.
    """
