"""View rows, indexes, checkpoints and blobs in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Condition

from maestro.model.errors import Refused, ViewDamaged
from maestro.store.contract import Checkpoint, Page, PageQuery, RowChange
from maestro.store.redis.blobs import compress, decompress
from maestro.store.sealed import Sealed
from maestro.store.wholeness import check_size, with_checksum, without_checksum


class _Generation:
    """One generation: rows by view, scores by view and index, and the saved size of each of these."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.checkpoint = Checkpoint()
        self.rows: dict[str, dict[str, bytes]] = {}
        self.indexes: dict[tuple[str, str], dict[str, int]] = {}
        self.sizes: dict[str, int] = {}

    def check(self, name: str) -> None:
        """Raise ViewDamaged unless the rows of a view, or an index, have as many entries as were saved."""
        kind, _, rest = name.partition(":")
        view, _, index = rest.partition(":")
        held = self.rows.get(view, {}) if kind == "rows" else self.indexes.get((view, index), {})
        check_size(self.name, name, self.sizes.get(name), len(held))

    def row(self, view: str, row: str) -> bytes | None:
        """A row without its checksum, None where there is none. Raises ViewDamaged for a damaged one."""
        data = self.rows.get(view, {}).get(row)
        return None if data is None else without_checksum(self.name, view, row, data)

    def write(self, change: RowChange) -> None:
        """Write one change, and update the sizes."""
        rows = self.rows.setdefault(change.view, {})
        if change.data is None:
            rows.pop(change.row, None)
        else:
            rows[change.row] = with_checksum(change.view, change.row, change.data)
        self.sizes[f"rows:{change.view}"] = len(rows)
        for index in (*change.remove, *change.add):
            scores = self.indexes.setdefault((change.view, index), {})
            if index in change.add:
                scores[change.row] = change.add[index]
            else:
                scores.pop(change.row, None)
            self.sizes[f"index:{change.view}:{index}"] = len(scores)


class _Saved:
    """A save that was carried out at once."""

    def __init__(self, saved: bool) -> None:
        self._saved = saved

    def result(self) -> bool:
        """What `MemoryViews.save` returned."""
        return self._saved

    def abandon(self) -> None:
        """Nothing is waited for."""


def _written(changes: Sequence[RowChange]) -> set[str]:
    """The names of the rows and indexes that changes write to."""
    names = {f"rows:{change.view}" for change in changes}
    return names | {f"index:{change.view}:{index}" for change in changes for index in (*change.remove, *change.add)}


class MemoryViews:
    """`ViewStore` in memory."""

    def __init__(self, changed: Condition) -> None:
        self._changed = changed
        self._generations: dict[str, _Generation] = {}
        self._current: str | None = None

    def _of(self, generation: str) -> _Generation:
        return self._generations.get(generation) or _Generation(generation)

    def current(self) -> str | None:
        """The generation that readers use."""
        return self._current

    def checkpoint(self, generation: str) -> Checkpoint:
        """The checkpoint of a generation."""
        with self._changed:
            return self._of(generation).checkpoint

    def load(self, generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), with the checkpoint that they belong to."""
        with self._changed:
            held = self._of(generation)
            for view in {view for view, _ in wanted}:
                held.check(f"rows:{view}")
            return held.checkpoint, [held.row(view, row) for view, row in wanted]

    def save(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> bool:
        """Write everything, or nothing where the checkpoint is not `before` any more."""
        with self._changed:
            held = self._of(generation)
            now = held.checkpoint
            if (now.seq, now.chain, now.stopped) != (before.seq, before.chain, before.stopped):
                return False
            for name in _written(changes):
                held.check(name)
            self._generations[generation] = held
            for change in changes:
                held.write(change)
            held.checkpoint = after
            return True

    def send(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> _Saved:
        """As `save`, which here takes no time to wait for."""
        return _Saved(self.save(generation, before, after, changes))

    def page(self, generation: str, query: PageQuery) -> Page:
        """A page of an index."""
        with self._changed:
            held = self._of(generation)
            held.check(f"index:{query.view}:{query.index}")
            held.check(f"rows:{query.view}")
            low = float("-inf") if query.min_score is None else query.min_score
            high = float("inf") if query.max_score is None else query.max_score
            scores = held.indexes.get((query.view, query.index), {})
            held_rows = [(score, row) for row, score in scores.items() if row.startswith(query.prefix)]
            order = sorted((score, row.encode()) for score, row in held_rows if low <= score <= high)
            if query.newest:
                order.reverse()
            end = None if query.limit < 0 else query.offset + query.limit
            rows = [(row.decode(), held.row(query.view, row.decode())) for _, row in order[query.offset : end]]
            found = [(row, data) for row, data in rows if data is not None]
            if len(found) < len(rows):
                what = f"the index {query.index!r} of {query.view} names a row that is not there"
                raise ViewDamaged(generation, what)
            return Page(found, held.checkpoint, len(order))

    def beginning(self, generation: str, view: str, prefix: str, limit: int) -> list[str]:
        """Up to `limit` ids of rows of a view that begin with a prefix, in order."""
        with self._changed:
            return sorted(row for row in self._of(generation).rows.get(view, {}) if row.startswith(prefix))[:limit]

    def dump(self, generation: str, view: str) -> list[tuple[str, bytes]]:
        """All rows of a view in row order."""
        with self._changed:
            held = self._of(generation)
            held.check(f"rows:{view}")
            return [
                (row, without_checksum(generation, view, row, data))
                for row, data in sorted(held.rows.get(view, {}).items())
            ]

    def indexes(self, generation: str, view: str) -> dict[str, dict[str, int]]:
        """All indexes of a view that are not empty."""
        with self._changed:
            held = self._of(generation)
            for name in held.sizes:
                if name.startswith(f"index:{view}:"):
                    held.check(name)
            found = sorted(held.indexes.items())
            return {index: dict(scores) for (of, index), scores in found if of == view and scores}

    def leaving(self, generation: str) -> bool:
        """Whether a generation was replaced and still exists; here `switch` deletes the old one at once."""
        return generation != self._current and self._current is not None and generation in self._generations

    def switch(self, old: str | None, new: str) -> bool:
        """Point readers at generation `new` if they still use `old`."""
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

    def drop_older(self) -> None:
        """Delete what readers of an older release use: nothing, as none can be here."""

    def erase(self) -> int:
        """Delete everything; returns how many keys a server would have had."""
        held = self._generations.values()
        keys = sum(1 + len(one.rows) + len(one.indexes) for one in held) + (self._current is not None)
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
        """Store a blob (again); returns its SHA-256."""
        name = sha256(data).hexdigest()
        with self._changed:
            self._blobs[name] = (compress(data), self._now())
        return name

    def get(self, sha256: str) -> bytes | None:
        """The content of a blob, None when there is none. Raises `VerificationFailed` for a damaged one."""
        with self._changed:
            held = self._blobs.get(sha256)
        if held is None:
            return None if self.sealed is None else self.sealed.blob(sha256)
        return decompress(sha256, held[0])

    def collect(self, keep: frozenset[str], older_than_ms: int) -> int:
        """Delete blobs that are not in `keep` and were last put longer ago; returns how many."""
        with self._changed:
            until = self._now() - older_than_ms
            dead = [name for name, (_, put) in self._blobs.items() if name not in keep and put <= until]
            for name in dead:
                del self._blobs[name]
            return len(dead)

    def drop_older(self) -> None:
        """Delete what readers of an older release use: nothing, as none can be here."""

    def erase(self) -> int:
        """Delete everything; returns how many keys a server would have had."""
        keys = len(self._blobs) + bool(self._blobs)
        self._blobs.clear()
        return keys
