"""Child processes that read and write small files in parallel, around the interpreter's lock.

Ten thousand small files in a thread of this process would keep its other threads from running. Parent and child
exchange messages over pipes, each with its length before it. A child ends when its input does, and on Linux at once
with the thread that started it, however that ended. An error in a child is raised where the parent awaits its answer.
"""

from __future__ import annotations

import ctypes
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.parallel.thread_pool import cores

FROM_FILES = 3000
"""The number of small files that child processes are started for: fewer are read sooner than a process starts."""
_COUNT_MAX = 4
_END_S = 5.0
_PR_SET_PDEATHSIG = 1
_LENGTH = struct.Struct("<I")
_KINDS: dict[str, type[MaestroError]] = {kind.code: kind for kind in (Refused, VerificationFailed)}
_encoder = msgspec.msgpack.Encoder()


class Failed(msgspec.Struct, array_like=True, tag=0):
    """The last answer of a child process that could not go on: its error."""

    code: str
    what: str
    where: str
    mend: str

    def error(self) -> MaestroError:
        """The exception to raise for this answer."""
        return _KINDS.get(self.code, Refused)(self.what, self.where, self.mend)


GONE = Failed(Refused.code, "a process that works on it ended before its time", "snapshot store", "try again")


class ChildProcess:
    """A child process that runs `module` on the archive in `root`."""

    def __init__(self, module: str, root: Path, *args: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(root), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def send(self, message: msgspec.Struct) -> bool:
        """Send a message; False where the child has ended."""
        try:
            _send(self._to, message)
        except OSError:
            return False
        return True

    def answers(self) -> Iterator[bytes]:
        """Yield the child's answers until it ends."""
        return _frames(self._from)

    def end(self) -> None:
        """Close the child's input and wait until it has ended; kill it after `_END_S`."""
        with suppress(OSError):
            self._to.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close the child's output, after `end` and when no thread reads it any more."""
        self._from.close()


def start(module: str, files: int, root: Path, *args: str) -> list[ChildProcess]:
    """Start as many child processes as suit so many small files.

    Fewer, or none, where the system refuses to start more.
    """
    started: list[ChildProcess] = []
    if files >= FROM_FILES:
        with suppress(OSError):
            for _ in range(min(_COUNT_MAX, cores() // 2)):
                started.append(ChildProcess(module, root, *args))
    return started


Work = Callable[[Layout, Iterator[bytes], Callable[[msgspec.Struct], None]], None]


def main(work: Work) -> None:
    """The main function of a child process: run `work` with the archive, the parent's messages, and a way to answer.

    `work` raises `EOFError` where the messages end too early: the parent has died, or wants no more.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(
            _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0
        )  # an orphan must not write into folders that others clean up
    answers = sys.stdout.buffer
    try:
        work(Layout(Path(sys.argv[1])), _frames(sys.stdin.buffer), lambda message: _send(answers, message))
    except MaestroError as error:
        _send(answers, Failed(error.code, error.what, error.where, error.mend))
    except EOFError:
        return


def _send(to: IO[bytes], message: msgspec.Struct) -> None:
    content = _encoder.encode(message)
    to.write(_LENGTH.pack(len(content)) + content)
    to.flush()


def _frames(source: IO[bytes]) -> Iterator[bytes]:
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        content = source.read(length)
        if len(content) < length:
            return
        yield content
