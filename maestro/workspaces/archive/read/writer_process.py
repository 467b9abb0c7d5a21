"""The child process that writes small files for a restore (see `block_queue`)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.parallel.block_queue import Done, Part
from maestro.workspaces.archive.read.contents import Contents
from maestro.workspaces.archive.read.stage import Stage, write_block
from maestro.workspaces.descent import Descent

_asked: msgspec.msgpack.Decoder[Part] = msgspec.msgpack.Decoder(Part)


def write(layout: Layout, asked: Iterator[bytes], answer: Callable[[msgspec.Struct], None]) -> None:
    """Write the files of each `Part` that the parent sends.

    The parent holds `layout.shared()`, and has made the stage and its folders.
    """
    gc.disable()  # this process makes no reference cycles
    contents = Contents(layout, Index({}))
    stage = Stage(Path(sys.argv[2]), sys.argv[3], is_new=False)
    with Descent(stage.handle) as descent:
        for frame in asked:
            part = _asked.decode(frame)
            write_block(stage, contents, (part.block, part.entries), descent)
            answer(Done())


if __name__ == "__main__":
    child_process.main(write)
