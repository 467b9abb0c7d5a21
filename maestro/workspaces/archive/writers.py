"""Processes beside this one that write the small files of a stage, a block at a time (see `beside`).

They take from one end of what is to be done while the threads of this process take from the other, so that all are
done at the same time, however much time the large files take.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType

import msgspec

from maestro.model.errors import MaestroError
from maestro.workspaces.archive import beside
from maestro.workspaces.archive.beside import GONE, Beside, Failed
from maestro.workspaces.archive.entries import Entry
from maestro.workspaces.archive.packs import Block
from maestro.workspaces.archive.stage import Stage

_AHEAD = 2
"""How many blocks a process has at once: it must not wait for the next one."""

Parts = deque[tuple[Block, list[Entry]]]
"""Blocks, each with the files of one piece that are to be written from it. For all threads."""


class Put(msgspec.Struct, array_like=True, tag=1):
    """Write these files, which lie in this block."""

    block: Block
    entries: Sequence[Entry]


class Written(msgspec.Struct, array_like=True, tag=2):
    """A block has been written."""


_GONE = msgspec.msgpack.encode(GONE)
_answers: msgspec.msgpack.Decoder[Written | Failed] = msgspec.msgpack.Decoder(Written | Failed)


class Writers:
    """As many as `parts` is worth; none for few files. A context: leaving it waits until nothing is left to take.

    Raises what one of them could not do. With an exception, what has not begun is dropped.
    """

    def __init__(self, root: Path, stage: Stage, parts: Parts) -> None:
        self._parts = parts
        self._failure: MaestroError | None = None
        files = sum(len(entries) for _, entries in islice(parts, beside.FROM_FILES))
        args = (root, str(stage.path), stage.name)
        self._processes = [Beside("maestro.workspaces.archive.writer", *args) for _ in range(beside.count(files))]
        self._threads = [threading.Thread(target=self._feed, args=(one,), daemon=True) for one in self._processes]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Writers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._parts.clear()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.end()
            process.close()
        if error is None and self._failure is not None:
            raise self._failure

    def _feed(self, process: Beside) -> None:
        answers = process.answers()
        awaited = 0
        while True:
            try:
                block, entries = self._parts.pop()
            except IndexError:
                if not awaited:
                    return
            else:
                process.send(Put(block, entries))  # one that is gone answers that it is
                awaited += 1
                if awaited < _AHEAD:
                    continue
            answer = _answers.decode(next(answers, _GONE))
            if isinstance(answer, Failed):
                self._failure = self._failure or answer.error()
                self._parts.clear()
                return
            awaited -= 1
