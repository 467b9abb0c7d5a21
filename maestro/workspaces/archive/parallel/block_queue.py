"""Blocks of small files that threads of this process and processes beside it go through together (see `beside`).

The processes take from one end of what is to be done while the threads take from the other, so that all are done at the
same time, however much time the large files take.
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
from maestro.workspaces.archive.parallel.child_process import GONE, Beside, Failed

_AHEAD = 2
"""How many blocks a process has at once: it must not wait for the next one."""


class Part(msgspec.Struct, array_like=True, tag=1):
    """A block, and the files of one piece that lie in it."""

    block: Block
    entries: Sequence[Entry]


class Done(msgspec.Struct, array_like=True, tag=2):
    """A process is through with a part."""


Parts = deque[Part]
"""What is still to be taken. For all threads."""

_GONE = msgspec.msgpack.encode(GONE)
_answers: msgspec.msgpack.Decoder[Done | Failed] = msgspec.msgpack.Decoder(Done | Failed)


class Sharing:
    """Processes that run `module` on the archive in `root`, as many as `parts` is worth; none for few files.

    A context: leaving it waits until nothing is left to take. Raises what one of them could not do. With an exception,
    what has not begun is dropped.
    """

    def __init__(self, module: str, root: Path, args: Sequence[str], parts: Parts) -> None:
        self._parts = parts
        self._failure: MaestroError | None = None
        self._processes = child_process.start(module, sum(len(part.entries) for part in parts), root, *args)
        self._threads = [threading.Thread(target=self._feed, args=(one,), daemon=True) for one in self._processes]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Sharing:
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
                part = self._parts.pop()
            except IndexError:
                if not awaited:
                    return
            else:
                process.send(part)  # one that is gone answers that it is
                awaited += 1
                if awaited < _AHEAD:
                    continue
            answer = _answers.decode(next(answers, _GONE))
            if isinstance(answer, Failed):
                self._failure = self._failure or answer.error()
                self._parts.clear()
                return
            awaited -= 1
