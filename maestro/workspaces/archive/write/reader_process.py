"""A process that reads small files for a snapshot that another one takes (see `readers`)."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import msgspec

from maestro.workspaces.archive.format import index as indexes
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import PackWriter
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.parallel.thread_pool import Crew
from maestro.workspaces.archive.write.chunk_writer import Chunks, Hand
from maestro.workspaces.archive.write.file_reader import read_files
from maestro.workspaces.archive.write.readers import Finish, Kept, Look, Told

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
    child_process.main(read)
