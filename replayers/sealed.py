"""The sealed part of a log: a folder of segments and of the blobs that they name, readable as a part of the log.

    <folder>/<namespace>/<first>-<last>-<chain>.seg
                         /blobs/<aa>/<sha256>.zst

A file's name tells which history it belongs to, and its header the chain value before it. So the segments are found one
by one, backwards from the first entry that the store still holds, each proved by the next one; no index of them exists
that could be out of date. Logs of the same name from several stores, and forks, may share one folder.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from maestro import files
from maestro.folders import private_folder
from maestro.model.errors import VerificationFailed
from maestro.store.codec import chain_of
from maestro.store.contract import Entry, Store
from maestro.store.redis.blobs import compress, decompress
from maestro.store.sealed import ReadLog
from replayers import segments
from replayers.segments import Header, Segment
from replayers.whole_file import placed, refusing, sweep

if TYPE_CHECKING:
    from replayers.past.history_index import HistoryIndex

BLOCKS_KEPT = 64
INDEX = "index.sqlite3"
BLOB_BYTES_MAX = 1 << 27
SETTING = "MAESTRO_SEGMENTS_DIR"
MEND = f"put it back, or set {SETTING} to the folder that all nodes of this namespace share"


def sealed_of(store: Store) -> Segments | None:
    """The sealed segments of this store's log, None where the store was opened without a folder for them."""
    sealed = store.log.sealed
    return sealed if isinstance(sealed, Segments) else None


def listed(folder: Path) -> dict[int, list[str]]:
    """The names of the segments in a folder, by the position with which they end; none where there is no folder."""
    found: dict[int, list[str]] = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(path.name for path in folder.iterdir()):
            ends = name.split("-")[1:2] if name.endswith(segments.SUFFIX) else []
            if ends and ends[0].isdecimal():
                found.setdefault(int(ends[0]), []).append(name)
    return found


class Segments:
    """`Sealed` from files. Thread-safe; reads the disk on demand only.

    index: of what is in them, in a file of this node alone, beside them unless another place is given.
    """

    def __init__(self, folder: Path, namespace: str, index: Path | None = None) -> None:
        self.namespace = namespace
        self.folder = folder / namespace
        self._root = folder
        self._index = index or self.folder / INDEX
        self._lock = Lock()
        self._headers: dict[tuple[int, str], tuple[Path, Header]] = {}
        self._ends: dict[tuple[int, str], str] = {}
        self._listed: dict[int, list[str]] | None = None
        self._blocks: OrderedDict[tuple[Path, int], list[Entry]] = OrderedDict()

    # ---- reading ----

    def before(self, following: Entry, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after` and before `following`."""
        found: list[Entry] = []
        last = min(after + count, following.seq - 1)
        for path, header in self._segments_of(following, after + 1, last):
            for block in self._cached_blocks(path, header, after + 1, last):
                found += block
        begin = after + 1 - found[0].seq if found else 0
        return found[begin : begin + last - after]

    def scan(self, following: Entry, after: int, upto: int, chunk: int) -> Iterator[list[Entry]]:
        """The entries after+1..upto in lists of `chunk`."""
        waiting: list[Entry] = []
        for path, _ in self._segments_of(following, after + 1, upto):
            for _, block in segments.blocks(path, after + 1):
                waiting += [entry for entry in block if after < entry.seq <= upto]
                while len(waiting) >= chunk:
                    yield waiting[:chunk]
                    del waiting[:chunk]
        if waiting:
            yield waiting

    def blob(self, sha256: str) -> bytes | None:
        """The content of a blob; None when there is none. Raises VerificationFailed for a damaged one."""
        try:
            frame = files.content(self.blob_path(sha256), BLOB_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VerificationFailed(f"the blob cannot be read: {error.strerror}", sha256, MEND) from None
        return decompress(sha256, frame)

    def blob_path(self, sha256: str) -> Path:
        """The path of a blob, whether it exists or not."""
        return self.folder / "blobs" / sha256[:2] / f"{sha256}.zst"

    @cached_property
    def index(self) -> HistoryIndex:
        """What of the bounded views is in the segments."""
        from replayers.past.history_index import HistoryIndex  # needs a database, which few commands ask

        return HistoryIndex(self._index)

    def positions(self, log: ReadLog, view: str, rows: Collection[str], upto: int) -> dict[str, list[int]]:
        """By row of a bounded view, the positions of the events up to `upto` that it was made of."""
        return self.index.positions(log, view, rows, upto)

    def newest(
        self, log: ReadLog, view: str, before: int, limit: int, upto: int, words: Sequence[str] = ()
    ) -> list[tuple[int, str]]:
        """Rows of a bounded view that began before a position, newest first."""
        return self.index.newest(log, view, before, limit, upto, words)

    def beginning(self, log: ReadLog, view: str, prefix: str, limit: int, upto: int) -> list[str]:
        """Up to `limit` ids of rows of a bounded view that begin with a prefix, in order."""
        return self.index.beginning(log, view, prefix, limit, upto)

    def segments_before(self, following: Entry) -> list[tuple[Path, Header]]:
        """All segments before `following`, oldest first. Raises VerificationFailed naming one that is missing."""
        return self._segments_of(following, 1, following.seq - 1)

    def _segments_of(self, following: Entry, first: int, last: int) -> list[tuple[Path, Header]]:
        """The segments that hold first..last, oldest first, found backwards from `following`."""
        found: list[tuple[Path, Header]] = []
        if first > last:
            return found
        path, header = self._end(following)
        while True:
            if header.first <= last:
                found.append((path, header))
            if header.first <= first:
                return found[::-1]
            path, header = self._get(header.first - 1, header.before)

    def _end(self, following: Entry) -> tuple[Path, Header]:
        """The segment that `following` continues."""
        last = following.seq - 1
        key = (following.seq, following.chain)
        chain = self._ends.get(key)
        if chain is not None:
            return self._get(last, chain)
        self._listed = listed(self.folder)  # one of another history, which ends there too, may be known alone
        for path in self._ending(last):
            header = segments.header(path)
            if header.last == last and chain_of(header.chain, following) == following.chain:
                self._ends[key] = header.chain
                return self._get(last, header.chain)
        raise VerificationFailed(
            f"the segment of the events up to {last} is missing: no file here is continued by what the store holds",
            str(self.folder / f"*-{last:010d}-*{segments.SUFFIX}"),
            MEND,
        )

    def _get(self, last: int, chain: str) -> tuple[Path, Header]:
        """The segment whose last event has this position and chain. Raises VerificationFailed where it is missing."""
        known = self._headers.get((last, chain))
        if known is None:
            known = self.find(last, chain)
            if known is None:
                name = f"*-{last:010d}-{chain[:16]}{segments.SUFFIX}"
                raise VerificationFailed(
                    f"the segment of the events up to {last} is missing", str(self.folder / name), MEND
                )
            self._headers[last, chain] = known
        return known

    def find(self, last: int, chain: str) -> tuple[Path, Header] | None:
        """The segment whose last event has this position and chain, or None. Raises VerificationFailed for a damaged
        one.
        """
        for path in self._ending(last, chain) or self._ending(last, chain, anew=True):
            header = segments.header(path)
            if (header.last, header.chain) != (last, chain):
                raise segments.damaged(path, "it is not the one that its name says")
            return path, header
        return None

    def _ending(self, last: int, chain: str = "", anew: bool = False) -> list[Path]:
        """The files that end with this position and chain by their names. anew: look at the folder once more, which is
        listed once for the segments of a whole history.
        """
        if anew or self._listed is None:
            self._listed = listed(self.folder)
        ends = f"-{chain[:16]}{segments.SUFFIX}" if chain else segments.SUFFIX
        paths = [self.folder / name for name in self._listed.get(last, ()) if name.endswith(ends)]
        return [path for path in paths if path.exists()]

    def _cached_blocks(self, path: Path, header: Header, first: int, last: int) -> Iterator[list[Entry]]:
        """The blocks that hold first..last, read once and cached for the next reader."""
        number = max(0, bisect_right(header.starts, first) - 1)
        end = bisect_right(header.starts, last)
        while number < end:
            with self._lock:
                block = self._blocks.get((path, number))
                if block is not None:
                    self._blocks.move_to_end((path, number))
            if block is None:
                break
            yield block
            number += 1
        if number == end:
            return
        for at, block in segments.blocks(path, header.starts[number]):
            self._cache_block(path, at, block)
            yield block
            if at + 1 == end:
                return

    def _cache_block(self, path: Path, number: int, block: list[Entry]) -> None:
        with self._lock:
            self._blocks[path, number] = block
            while len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)

    # ---- writing ----

    def open(self) -> Path:
        """The folder, created if absent, stale partial files removed. Raises Refused or Invalid for an unusable one."""
        private_folder(self._root, SETTING)
        folder = private_folder(self.folder, SETTING)
        sweep(folder)
        return folder

    def put(self, entries: Iterable[Entry], before_chain: str) -> Segment:
        """Write the entries to a segment in this folder. Raises what `segments.write` raises."""
        return segments.write(self.open(), self.namespace, entries, before_chain)

    def put_blob(self, sha256: str, data: bytes) -> None:
        """Write a blob to this folder."""
        path = self.blob_path(sha256)
        with refusing(path.parent):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with placed(path) as file:
            file.write(compress(data))
