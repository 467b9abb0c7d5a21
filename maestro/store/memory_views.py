"""Rows, indexes, checkpoints and blobs in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Condition

from maestro.model.errors import Refused
from maestro.store.blobs import compress, opened
from maestro.store.contract import Checkpoint, Page, PageQuery, RowChange
from maestro.store.sealed import Sealed


class _Generation:
    """Rows by view, scores by view and index."""

    def __init__(self) -> None:
        self.checkpoint = Checkpoint()
        self.rows: dict[str, dict[str, bytes]] = {}
        self.indexes: dict[tuple[str, str], dict[str, int]] = {}

    def write(self, change: RowChange) -> None:
        rows = self.rows.setdefault(change.view, {})
        if change.data is None:
            rows.pop(change.row, None)
        else:
            rows[change.row] = change.data
        for index in change.remove:
            self.indexes.get((change.view, index), {}).pop(change.row, None)
        for index, score in change.add.items():
            self.indexes.setdefault((change.view, index), {})[change.row] = score


class MemoryViews:
    """`ViewStore` in memory."""

    def __init__(self, changed: Condition) -> None:
        self._changed = changed
        self._generations: dict[str, _Generation] = {}
        self._current: str | None = None

    def _of(self, generation: str) -> _Generation:
        return self._generations.get(generation) or _Generation()

    def current(self) -> str | None:
        """The generation that readers use."""
        return self._current

    def checkpoint(self, generation: str) -> Checkpoint:
        """How far it is."""
        with self._changed:
            return self._of(generation).checkpoint

    def load(self, generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), and the checkpoint."""
        with self._changed:
            held = self._of(generation)
            return held.checkpoint, [held.rows.get(view, {}).get(row) for view, row in wanted]

    def save(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> bool:
        """Write everything, or nothing where the checkpoint is not `before` any more."""
        with self._changed:
            held = self._of(generation)
            now = held.checkpoint
            if (now.seq, now.chain, now.stopped) != (before.seq, before.chain, before.stopped):
                return False
            self._generations[generation] = held
            for change in changes:
                held.write(change)
            held.checkpoint = after
            return True

    def page(self, generation: str, query: PageQuery) -> Page:
        """A page of an index."""
        with self._changed:
            held = self._of(generation)
            low = float("-inf") if query.min_score is None else query.min_score
            high = float("inf") if query.max_score is None else query.max_score
            scores = held.indexes.get((query.view, query.index), {})
            held_rows = [(score, row) for row, score in scores.items() if row.startswith(query.prefix)]
            order = sorted((score, row.encode()) for score, row in held_rows if low <= score <= high)
            if query.newest:
                order.reverse()
            rows = held.rows.get(query.view, {})
            end = None if query.limit < 0 else query.offset + query.limit
            ids = [row.decode() for _, row in order[query.offset : end]]
            return Page([(row, rows[row]) for row in ids if row in rows], held.checkpoint, len(order))

    def dump(self, generation: str, view: str) -> list[tuple[str, bytes]]:
        """All rows in row order."""
        with self._changed:
            return sorted(self._of(generation).rows.get(view, {}).items())

    def indexes(self, generation: str, view: str) -> dict[str, dict[str, int]]:
        """All indexes of a view that hold something."""
        with self._changed:
            found = self._of(generation).indexes.items()
            return {index: dict(scores) for (of, index), scores in sorted(found) if of == view and scores}

    def switch(self, old: str | None, new: str) -> bool:
        """Point readers at `new` if they use `old` still."""
        with self._changed:
            if self._current != old:
                return False
            self._current = new
            if old is not None and old != new:
                self._generations.pop(old, None)
            return True

    def drop(self, generation: str) -> None:
        """Delete a generation. Raises `Refused` for the one that readers use."""
        with self._changed:
            if self._current == generation:
                raise Refused(f"generation {generation} is in use", "views", "switch to another one first")
            self._generations.pop(generation, None)

    def erase(self) -> int:
        """Forget everything; how many keys a server would have had."""
        held = self._generations.values()
        keys = sum(2 + len(one.rows) + len(one.indexes) for one in held) + (self._current is not None)
        self._generations.clear()
        self._current = None
        return keys


class MemoryBlobs:
    """`BlobStore` in memory. sealed: where blobs that only sealed events name are read from."""

    sealed: Sealed | None = None

    def __init__(self, changed: Condition, now: Callable[[], int]) -> None:
        self._changed = changed
        self._now = now
        self._blobs: dict[str, tuple[bytes, int]] = {}

    def put(self, data: bytes) -> str:
        """Store (again); returns the name."""
        name = sha256(data).hexdigest()
        with self._changed:
            self._blobs[name] = (compress(data), self._now())
        return name

    def get(self, sha256: str) -> bytes | None:
        """The content, None when there is none. Raises `VerificationFailed` for a damaged one."""
        with self._changed:
            held = self._blobs.get(sha256)
        if held is None:
            return None if self.sealed is None else self.sealed.blob(sha256)
        return opened(sha256, held[0])

    def collect(self, keep: frozenset[str], older_than_ms: int) -> int:
        """Delete blobs not in `keep` that were last put longer ago."""
        with self._changed:
            until = self._now() - older_than_ms
            dead = [name for name, (_, put) in self._blobs.items() if name not in keep and put <= until]
            for name in dead:
                del self._blobs[name]
            return len(dead)

    def erase(self) -> int:
        """Forget everything; how many keys a server would have had."""
        keys = len(self._blobs) + bool(self._blobs)
        self._blobs.clear()
        return keys
