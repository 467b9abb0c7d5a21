"""A process that checks small files for a verification that another one does (see `sharing`)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator

import msgspec

from maestro.workspaces.archive import beside
from maestro.workspaces.archive.contents import Contents, small_files
from maestro.workspaces.archive.index import Index
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.sharing import Done, Part

_asked: msgspec.msgpack.Decoder[Part] = msgspec.msgpack.Decoder(Part)


def check(layout: Layout, asked: Iterator[bytes], answer: Callable[[msgspec.Struct], None]) -> None:
    """Read what is named, and compare it. Who asks holds `layout.shared()`."""
    gc.disable()  # nothing here lives in circles
    contents = Contents(layout, Index({}))
    for frame in asked:
        part = _asked.decode(frame)
        answer(Done(sum(len(content) for _, content in small_files(contents, sys.argv[2], part.block, part.entries))))


if __name__ == "__main__":
    beside.main(check)
