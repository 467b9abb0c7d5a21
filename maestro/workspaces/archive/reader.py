"""A process that reads small files for a snapshot that another one takes (see `readers`)."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import msgspec

from maestro.workspaces.archive import beside
from maestro.workspaces.archive import index as indexes
from maestro.workspaces.archive.crew import Crew
from maestro.workspaces.archive.keeping import Chunks, Hand
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.packs import PackWriter
from maestro.workspaces.archive.readers import Finish, Kept, Look, Told
from maestro.workspaces.archive.reading import read_files

_asked: msgspec.msgpack.Decoder[Look | Finish] = msgspec.msgpack.Decoder(Look | Finish)


def read(layout: Layout, asked: Iterator[bytes], answer: Callable[[msgspec.Struct], None]) -> None:
    """Read what is asked for, until `Finish`. Who asks holds `layout.shared()`."""
    gc.disable()  # nothing here lives in circles
    writer = PackWriter(layout)
    try:
        chunks = Chunks(indexes.load(layout), writer)
        with Crew(lambda: Hand(chunks), Hand.flush) as crew:
            chunks.crew = crew
            for frame in asked:
                message = _asked.decode(frame)
                if isinstance(message, Finish):
                    break
                answer(Told(read_files(message.source, message.folders, crew.mine().keep)))
            else:
                raise EOFError
        writer.finish()
        answer(Kept(writer.blocks, writer.bytes))
    finally:
        writer.drop()


if __name__ == "__main__":
    beside.main(read)
