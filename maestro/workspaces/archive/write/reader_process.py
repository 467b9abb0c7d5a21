"""The child process that reads small files for a snapshot (see `readers`)."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import msgspec

from maestro.workspaces.archive.format import index as indexes
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import PackWriter
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.parallel.thread_pool import ThreadPool
from maestro.workspaces.archive.write.chunk_writer import ChunkWriter, Deduplicator
from maestro.workspaces.archive.write.folder_reader import FolderReader
from maestro.workspaces.archive.write.readers import Finish, ReadAnswer, ReadRequest, WrittenBlocks

_asked: msgspec.msgpack.Decoder[ReadRequest | Finish] = msgspec.msgpack.Decoder(ReadRequest | Finish)


def read(layout: Layout, asked: Iterator[bytes], answer: Callable[[msgspec.Struct], None]) -> None:
    """Read the files of each `ReadRequest` until `Finish`. The parent holds `layout.shared()`."""
    gc.disable()  # this process makes no reference cycles
    writer = PackWriter(layout)
    reader: FolderReader | None = None
    try:
        deduplicator = Deduplicator(indexes.load(layout), writer)
        with ThreadPool(lambda: ChunkWriter(deduplicator), ChunkWriter.flush) as pool:
            deduplicator.thread_pool = pool
            for frame in asked:
                message = _asked.decode(frame)
                if isinstance(message, Finish):
                    break
                if reader is None or reader.source != message.source:
                    if reader is not None:
                        reader.close()
                    reader = None
                    reader = FolderReader(message.source)
                answer(ReadAnswer(reader.read(message.folders, pool.own_resource().keep)))
            else:
                raise EOFError
        writer.finish()
        answer(WrittenBlocks(writer.blocks, writer.bytes))
    finally:
        if reader is not None:
            reader.close()
        writer.drop()


if __name__ == "__main__":
    child_process.main(read)
