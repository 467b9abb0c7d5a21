"""Reads the small files of a snapshot: in this process where they are few, in child processes where they are many.

A child process writes what it reads into packs of its own, and answers what it saw. A file's size decides which child
reads it, so that files of equal content meet in one child and are stored once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from maestro.model.errors import MaestroError
from maestro.workspaces.archive.format.packs import Block
from maestro.workspaces.archive.format.stat_cache import Seen
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.parallel.child_process import GONE, ChildProcess, Failed
from maestro.workspaces.archive.write.file_reader import Keep
from maestro.workspaces.archive.write.folder_reader import FolderReader, Folders

_BATCH_FILES = 128
_TICK_S = 0.1


class ReadRequest(msgspec.Struct, array_like=True, tag=1):
    """A request to read these files, below `source`."""

    source: bytes
    folders: Folders


class Finish(msgspec.Struct, array_like=True, tag=2):
    """A request to bring everything that was written to the disk: there are no more files."""


class ReadAnswer(msgspec.Struct, array_like=True, tag=3):
    """The files of one `ReadRequest` as they were read."""

    files: list[Seen]


class WrittenBlocks(msgspec.Struct, array_like=True, tag=4):
    """The answer to `Finish`: the new blocks, which are on the disk. bytes: that the packs have grown by."""

    blocks: list[Block]
    bytes: int


_answers: msgspec.msgpack.Decoder[ReadAnswer | WrittenBlocks | Failed] = msgspec.msgpack.Decoder(
    ReadAnswer | WrittenBlocks | Failed
)


class Readers:
    """The readers of one snapshot; child processes are started once the files are many.

    root: of the archive; None where nothing is to be stored, and no child process started.
    keep: takes the chunks that are read in this process.

    A context: leaving it ends the child processes. Raises `Refused` where one of them could not go on.
    """

    def __init__(self, root: Path | None, keep: Keep) -> None:
        self._root, self._keep = root, keep
        self._readers: list[_ChildReader] = []
        self._source = b""
        self._waiting: list[tuple[bytes, bytes, int]] = []

    def read(self, source: bytes, folder: bytes, name: bytes, size: int) -> None:
        """Have a file read. Call `wait` before a file of another source.

        size: as the scan saw it.
        """
        self._source = source
        if self._readers:
            self._readers[size % len(self._readers)].read(source, folder, name)
            return
        self._waiting.append((folder, name, size))
        if self._root is not None and len(self._waiting) >= child_process.FROM_FILES:
            processes = child_process.start(
                "maestro.workspaces.archive.write.reader_process", len(self._waiting), self._root
            )
            self._root = None  # starting is tried only once
            self._readers = [_ChildReader(process) for process in processes]
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                self.read(source, *one)

    @property
    def read_bytes(self) -> int:
        """How many bytes the child processes have read."""
        return sum(reader.read_bytes for reader in self._readers)

    def wait(self, tick: Callable[[], None]) -> list[Seen]:
        """Wait for all files that were asked for since the last call; what was seen of them.

        tick: called now and then.
        """
        for child in self._readers:
            child.flush()
        folders: Folders = []
        for folder, name, _ in self._waiting:
            _add(folders, folder, name)
        self._waiting = []
        seen: list[Seen] = []
        if folders:
            with FolderReader(self._source) as reader:
                for one_folder in folders:  # up to three gigabytes, so progress and cancels are handled in between
                    seen += reader.read([one_folder], self._keep)
                    tick()
        return seen + [one for child in self._readers for one in child.wait(tick)]

    def finish(self) -> None:
        """Tell the child processes to bring what they wrote to the disk."""
        for reader in self._readers:
            reader.send(Finish())

    def written(self) -> list[WrittenBlocks]:
        """What the child processes wrote, which is on the disk now. Call it after `finish`."""
        return [reader.written() for reader in self._readers]

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.end()


def _add(folders: Folders, folder: bytes, name: bytes) -> None:
    if not folders or folders[-1][0] != folder:
        folders.append((folder, []))
    folders[-1][1].append(name)


class _ChildReader:
    """One child process, and the thread that receives its answers."""

    def __init__(self, process: ChildProcess) -> None:
        self.read_bytes = 0
        self._source = b""
        self._folders: Folders = []
        self._files = self._awaited = 0
        self._seen: list[Seen] = []
        self._last: WrittenBlocks | Failed | None = None
        self._changed = threading.Condition()
        self._process = process
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def read(self, source: bytes, folder: bytes, name: bytes) -> None:
        """Have a file read."""
        if source != self._source:
            self.flush()
            self._source = source
        _add(self._folders, folder, name)
        self._files += 1
        if self._files >= _BATCH_FILES:
            self.flush()

    def flush(self) -> None:
        """Send the files of the current batch."""
        if self._files:
            self._awaited += 1
            self.send(ReadRequest(self._source, self._folders))
            self._folders, self._files = [], 0

    def send(self, message: ReadRequest | Finish) -> None:
        """Send a message; where the child has ended, raise its error."""
        if not self._process.send(message):
            self._thread.join()
            raise self._failure()

    def wait(self, tick: Callable[[], None]) -> list[Seen]:
        """Wait until everything that was asked for has been read; what was seen."""
        while True:
            with self._changed:
                if self._awaited and self._last is None:
                    self._changed.wait(_TICK_S)
                if self._last is not None:
                    raise self._failure()
                if not self._awaited:
                    seen, self._seen = self._seen, []
                    return seen
            tick()

    def written(self) -> WrittenBlocks:
        """What the child wrote. Call it after `Finish` was sent."""
        self._thread.join()
        if not isinstance(self._last, WrittenBlocks):
            raise self._failure()
        return self._last

    def end(self) -> None:
        """End the child process and its thread."""
        self._process.end()
        self._thread.join()
        self._process.close()

    def _failure(self) -> MaestroError:
        return (self._last if isinstance(self._last, Failed) else GONE).error()

    def _listen(self) -> None:
        try:
            for frame in self._process.answers():
                answer = _answers.decode(frame)
                with self._changed:
                    if isinstance(answer, ReadAnswer):
                        self._seen += answer.files
                        self._awaited -= 1
                        self.read_bytes += sum(seen.entry.size for seen in answer.files)
                    else:
                        self._last = answer
                    self._changed.notify()
        finally:
            with self._changed:
                self._last = self._last or GONE
                self._changed.notify()
