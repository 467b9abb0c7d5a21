"""A queue of blocks of small files that threads of this process and child processes work off together.

The child processes take blocks from one end of the queue while the threads take them from the other, so that both
finish at the same time, however long the large files take.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from maestro.model.errors import MaestroError
from maestro.workspaces.archive.format.entries import Entry
from maestro.workspaces.archive.format.packs import Block
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.parallel.child_process import GONE, ChildProcess, Failed

_AHEAD = 2
"""How many blocks a child process has at once, so that it never waits for the next one."""


class Part(msgspec.Struct, array_like=True, tag=1):
    """A block, and the files in it that consist of one chunk."""

    block: Block
    entries: Sequence[Entry]


class Done(msgspec.Struct, array_like=True, tag=2):
    """The answer of a child process: one part is finished."""


Parts = deque[Part]
"""The parts that nobody has taken yet. Thread-safe."""

_GONE = msgspec.msgpack.encode(GONE)
_answers: msgspec.msgpack.Decoder[Done | Failed] = msgspec.msgpack.Decoder(Done | Failed)


class BlockQueue:
    """Child processes that run `module` on the archive in `root` and take parts from the right end of `parts`.

    `child_process.start` decides how many there are; none for few files. A context: leaving it waits until no part is
    left, and raises the error of a child process. With an exception, parts that nobody has taken are dropped.
    """

    def __init__(self, module: str, root: Path, args: Sequence[str], parts: Parts) -> None:
        self._parts = parts
        self._failure: MaestroError | None = None
        self._processes = child_process.start(module, sum(len(part.entries) for part in parts), root, *args)
        self._threads = [threading.Thread(target=self._feed, args=(one,), daemon=True) for one in self._processes]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> BlockQueue:
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

    def _feed(self, process: ChildProcess) -> None:
        """Keep one child process supplied with parts until none is left, or until it fails."""
        answers = process.answers()
        awaited = 0
        while True:
            try:
                part = self._parts.pop()
            except IndexError:
                if not awaited:
                    return
            else:
                process.send(part)  # where the process has ended, its answer below is _GONE
                awaited += 1
                if awaited < _AHEAD:
                    continue
            answer = _answers.decode(next(answers, _GONE))
            if isinstance(answer, Failed):
                self._failure = self._failure or answer.error()
                self._parts.clear()
                return
            awaited -= 1
