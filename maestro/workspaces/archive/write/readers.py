"""Who reads the small files of a snapshot: this process where they are few, processes beside it where they are many.

A reader keeps what it reads in packs of its own, and says what it saw. Which file goes to which reader follows from its
size, so that files of one content meet in one reader and are kept once.
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
from maestro.workspaces.archive.parallel.child_process import GONE, Beside, Failed
from maestro.workspaces.archive.write.file_reader import Folders, Keep, read_files

_BATCH_FILES = 128
_TICK_S = 0.1


class Look(msgspec.Struct, array_like=True, tag=1):
    """Read these files: names by folder, below `source`."""

    source: bytes
    folders: Folders


class Finish(msgspec.Struct, array_like=True, tag=2):
    """No more files: bring what was kept to the disk."""


class Told(msgspec.Struct, array_like=True, tag=3):
    """What was seen of the files of one `Look`."""

    files: list[Seen]


class Kept(msgspec.Struct, array_like=True, tag=4):
    """All that was new is on the disk, in these blocks. bytes: that the packs have grown by."""

    blocks: list[Block]
    bytes: int


_answers: msgspec.msgpack.Decoder[Told | Kept | Failed] = msgspec.msgpack.Decoder(Told | Kept | Failed)


class Readers:
    """Readers of one snapshot, started when the files are many.

    root: of the archive, None where nothing is to be kept; keep: for what is read here. A context: leaving it ends
    them. Raises `Refused` where one of them could not go on.
    """

    def __init__(self, root: Path | None, keep: Keep) -> None:
        self._root, self._keep = root, keep
        self._readers: list[_Reader] = []
        self._source = b""
        self._waiting: list[tuple[bytes, bytes, int]] = []

    def read(self, source: bytes, folder: bytes, name: bytes, size: int) -> None:
        """Have a file read; size: as it was seen. `wait` before a file of another source."""
        self._source = source
        if self._readers:
            self._readers[size % len(self._readers)].read(source, folder, name)
            return
        self._waiting.append((folder, name, size))
        if self._root is not None and len(self._waiting) >= child_process.FROM_FILES:
            processes = child_process.start(
                "maestro.workspaces.archive.write.reader_process", len(self._waiting), self._root
            )
            self._root = None  # it is tried once
            self._readers = [_Reader(process) for process in processes]
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                self.read(source, *one)

    @property
    def read_bytes(self) -> int:
        """How much readers have read."""
        return sum(reader.read_bytes for reader in self._readers)

    def wait(self, tick: Callable[[], None]) -> list[Seen]:
        """What was seen of all files that were asked for since the last time; `tick` is called every now and then."""
        for reader in self._readers:
            reader.flush()
        folders: Folders = []
        for folder, name, _ in self._waiting:
            _add(folders, folder, name)
        self._waiting = []
        seen: list[Seen] = []
        for one_folder in folders:  # they may be three gigabytes: who watches or cancels is heard in between
            seen += read_files(self._source, [one_folder], self._keep)
            tick()
        return seen + [one for reader in self._readers for one in reader.wait(tick)]

    def finish(self) -> None:
        """Begin to bring what they kept to the disk."""
        for reader in self._readers:
            reader.send(Finish())

    def kept(self) -> list[Kept]:
        """What they kept, which is on the disk now. After `finish`."""
        return [reader.kept() for reader in self._readers]

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.end()


def _add(folders: Folders, folder: bytes, name: bytes) -> None:
    if not folders or folders[-1][0] != folder:
        folders.append((folder, []))
    folders[-1][1].append(name)


class _Reader:
    """One process, and the thread that hears it."""

    def __init__(self, process: Beside) -> None:
        self.read_bytes = 0
        self._source = b""
        self._folders: Folders = []
        self._files = self._awaited = 0
        self._seen: list[Seen] = []
        self._last: Kept | Failed | None = None
        self._changed = threading.Condition()
        self._process = process
        self._thread = threading.Thread(target=self._hear, daemon=True)
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
        """Send what is not sent yet."""
        if self._files:
            self._awaited += 1
            self.send(Look(self._source, self._folders))
            self._folders, self._files = [], 0

    def send(self, message: Look | Finish) -> None:
        """Send a message; one who has ended says why."""
        if not self._process.send(message):
            self._thread.join()
            raise self._failure()

    def wait(self, tick: Callable[[], None]) -> list[Seen]:
        """All that was asked for has been read."""
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

    def kept(self) -> Kept:
        """What it has kept, after `Finish`."""
        self._thread.join()
        if not isinstance(self._last, Kept):
            raise self._failure()
        return self._last

    def end(self) -> None:
        """It is gone."""
        self._process.end()
        self._thread.join()
        self._process.close()

    def _failure(self) -> MaestroError:
        return (self._last if isinstance(self._last, Failed) else GONE).error()

    def _hear(self) -> None:
        try:
            for frame in self._process.answers():
                answer = _answers.decode(frame)
                with self._changed:
                    if isinstance(answer, Told):
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
