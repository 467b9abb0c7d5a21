"""A process that reads small files for a snapshot that another one takes (see `readers`): `ROOT`, and messages."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import IO

import msgspec

from maestro.model.errors import MaestroError
from maestro.workspaces.archive import index as indexes
from maestro.workspaces.archive.crew import Crew
from maestro.workspaces.archive.keeping import Chunks, Hand
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.packs import PackWriter
from maestro.workspaces.archive.readers import Failed, Finish, Kept, Look, Told, frames, send
from maestro.workspaces.archive.reading import read_files

_asked: msgspec.msgpack.Decoder[Look | Finish] = msgspec.msgpack.Decoder(Look | Finish)


def main() -> None:
    """Until the input ends, which is the end of whatever was not finished."""
    gc.disable()  # nothing here lives in circles
    answers = sys.stdout.buffer
    try:
        serve(Layout(Path(sys.argv[1])), sys.stdin.buffer, answers)
    except MaestroError as error:
        send(answers, Failed(error.what, error.where, error.mend))
    except EOFError:
        return


def serve(layout: Layout, asked: IO[bytes], answers: IO[bytes]) -> None:
    """Read what is asked for, until `Finish`. Who asks holds `layout.shared()`. Raises `EOFError` where it is gone."""
    writer = PackWriter(layout)
    try:
        chunks = Chunks(indexes.load(layout), writer)
        with Crew(lambda: Hand(chunks), Hand.flush) as crew:
            chunks.crew = crew
            for frame in frames(asked):
                message = _asked.decode(frame)
                if isinstance(message, Finish):
                    break
                send(answers, Told(read_files(message.source, message.folders, crew.mine().keep)))
            else:
                raise EOFError
        writer.finish()
        send(answers, Kept(writer.blocks, writer.bytes))
    finally:
        writer.drop()


if __name__ == "__main__":
    main()
