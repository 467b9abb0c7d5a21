"""A process that writes small files for a restore that another one does (see `sharing`)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from maestro.workspaces.archive import beside
from maestro.workspaces.archive.contents import Contents
from maestro.workspaces.archive.descent import Descent
from maestro.workspaces.archive.index import Index
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.sharing import Done, Part
from maestro.workspaces.archive.stage import Stage, write_block

_asked: msgspec.msgpack.Decoder[Part] = msgspec.msgpack.Decoder(Part)


def write(layout: Layout, asked: Iterator[bytes], answer: Callable[[msgspec.Struct], None]) -> None:
    """Write what is asked for. Who asks holds `layout.shared()`, and has made the stage and its folders."""
    gc.disable()  # nothing here lives in circles
    contents = Contents(layout, Index({}))
    stage = Stage(Path(sys.argv[2]), sys.argv[3], is_new=False)
    with Descent(stage.handle) as descent:
        for frame in asked:
            part = _asked.decode(frame)
            write_block(stage, contents, (part.block, part.entries), descent)
            answer(Done())


if __name__ == "__main__":
    beside.main(write)
