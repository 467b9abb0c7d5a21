"""The rows, indexes and checkpoints of the views on a server, by generation.

A generation is a set of keys of its own: a hash of rows per view, a sorted set per index, and a checkpoint, which also
holds the number of entries of each other key (`wholeness.py`). Readers follow one pointer, so that a rebuilt generation
replaces the old one at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from maestro.model.errors import Refused, ViewDamaged
from maestro.store.contract import Checkpoint, Page, PageQuery, RowChange
from maestro.store.keys import Keys
from maestro.store.redis.connection import Command, WrongType
from maestro.store.redis.pool import ConnectionPool, Script
from maestro.store.redis.sent_script import SentScript
from maestro.store.wholeness import FIELDS, SIZE, check_size, checkpoint_of, fields_of, with_checksum, without_checksum

SAVE = Script("save.lua")
PAGE = Script("page.lua")
SWITCH = Script("switch.lua")
CHUNK = 1000
SCANNED = 5000
"""How many rows a server looks at in one call for those that begin with a prefix."""
LINGER_MS = 60_000
"""How long a generation stays after readers were pointed to another one: a reader may be between two calls."""


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """The dict of a hash that comes as a flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@contextmanager
def _of(generation: str) -> Iterator[None]:
    """Raise ViewDamaged for a generation where one of its keys has a wrong type, as another program wrote it."""
    try:
        yield
    except WrongType as wrong:
        raise ViewDamaged(generation, "a key of it is not of its type") from wrong


class _Writes:
    """The changes of one save, gathered by key: of the changes of one row the last one wins."""

    def __init__(self, keys: Keys, generation: str, changes: Sequence[RowChange]) -> None:
        by_view: dict[str, dict[str, RowChange]] = defaultdict(dict)
        for change in changes:
            by_view[change.view][change.row] = change
        self.keys: list[str] = []
        self.args: list[bytes | str | int] = []
        for view, last in by_view.items():
            self._view(keys, generation, view, last.values())

    def _view(self, keys: Keys, generation: str, view: str, changes: Iterable[RowChange]) -> None:
        put: list[bytes | str] = []
        deleted: list[str] = []
        added: dict[str, list[str | int]] = defaultdict(list)
        removed: dict[str, list[str]] = defaultdict(list)
        for change in changes:
            row, data = change.row, change.data
            if data is None:
                deleted.append(row)
            else:
                put += row, with_checksum(view, row, data)
            for index in change.remove:
                removed[index].append(row)
            for index, score in change.add.items():
                added[index] += score, row
        self.keys.append(keys.rows(generation, view))
        self._command("HSET", put)
        self._command("HDEL", deleted)
        for index in {**added, **removed}:
            self.keys.append(keys.index(generation, view, index))
            self._command("ZADD", added.get(index, ()))
            self._command("ZREM", removed.get(index, ()))

    def _command(self, name: str, words: Sequence[bytes | str | int]) -> None:
        for start in range(0, len(words), 2 * CHUNK):
            some = words[start : start + 2 * CHUNK]
            self.args += name, len(self.keys) + 1, len(some), *some


class _Sent:
    """A save that was sent."""

    def __init__(self, generation: str, script: SentScript) -> None:
        self._generation = generation
        self._script = script

    def result(self) -> bool:
        """Wait for the answer: whether everything was written."""
        with _of(self._generation):
            saved = self._script.result()
        if isinstance(saved, list):
            check_size(self._generation, saved[0].decode("utf-8", "replace"), *saved[1:])
        return bool(saved)

    def abandon(self) -> None:
        """Do without the answer."""
        self._script.abandon()


class RedisViews:
    """`ViewStore` on a server."""

    def __init__(self, keys: Keys, pool: ConnectionPool) -> None:
        self._keys = keys
        self._pool = pool

    def current(self) -> str | None:
        """The generation that readers use."""
        try:
            name: bytes | None = self._pool.call("GET", self._keys.views)
        except WrongType:  # another program overwrote the pointer; `switch` replaces it
            return None
        return None if name is None else name.decode("utf-8", "surrogateescape")

    def checkpoint(self, generation: str) -> Checkpoint:
        """The checkpoint of a generation."""
        with _of(generation):
            values = self._pool.call("HMGET", self._keys.checkpoint(generation), *FIELDS)
        return checkpoint_of(generation, dict(zip(FIELDS, values, strict=True)))

    def load(self, generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), with the checkpoint that they belong to."""
        by_view: dict[str, list[str]] = {}
        for view, row in wanted:
            by_view.setdefault(view, []).append(row)
        sizes = [f"{SIZE}rows:{view}" for view in by_view]
        commands: list[Command] = [("HMGET", self._keys.checkpoint(generation), *FIELDS, *sizes)]
        commands += [("HLEN", self._keys.rows(generation, view)) for view in by_view]
        commands += [("HMGET", self._keys.rows(generation, view), *rows) for view, rows in by_view.items()]
        with _of(generation):
            values, *replies = self._pool.transaction(commands)
        stored = dict(zip((*FIELDS, *sizes), values, strict=True))
        checkpoint = checkpoint_of(generation, stored)
        for view, size, found in zip(by_view, sizes, replies, strict=False):
            check_size(generation, f"rows:{view}", stored[size], found)
        rows = {view: iter(reply) for view, reply in zip(by_view, replies[len(by_view) :], strict=True)}
        found = [(view, row, next(rows[view])) for view, row in wanted]
        return checkpoint, [data and without_checksum(generation, view, row, data) for view, row, data in found]

    def save(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> bool:
        """Write everything, or nothing where the checkpoint is not `before` any more."""
        return self.send(generation, before, after, changes).result()

    def send(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> _Sent:
        """As `save`, without waiting for the answer."""
        writes = _Writes(self._keys, generation, changes)
        fields = fields_of(after)
        keys = [self._keys.checkpoint(generation), *writes.keys]
        args = [before.seq, before.chain, before.stopped, len(fields), *fields, *writes.args]
        return _Sent(generation, SentScript(self._pool, SAVE, keys, args))

    def page(self, generation: str, query: PageQuery) -> Page:
        """A page of an index, its rows and its checkpoint in one call."""
        low = "-inf" if query.min_score is None else query.min_score
        high = "+inf" if query.max_score is None else query.max_score
        keys = [
            self._keys.checkpoint(generation),
            self._keys.index(generation, query.view, query.index),
            self._keys.rows(generation, query.view),
        ]
        names = (f"index:{query.view}:{query.index}", f"rows:{query.view}")
        fields = (*FIELDS, *(SIZE + name for name in names))
        args: list[bytes | str | int] = [low, high, query.offset, query.limit, "1" if query.newest else ""]
        with _of(generation):
            values, held, total, ids, rows = self._pool.script(PAGE, keys, [*args, query.prefix, *fields])
        stored = dict(zip(fields, values, strict=True))
        checkpoint = checkpoint_of(generation, stored)
        for name, found in zip(names, held, strict=True):
            check_size(generation, name, stored[SIZE + name], found)
        if None in rows:
            raise ViewDamaged(generation, f"the index {query.index!r} of {query.view} names a row that is not there")
        named = [(row.decode("utf-8", "replace"), data) for row, data in zip(ids, rows, strict=True)]
        return Page(
            [(row, without_checksum(generation, query.view, row, data)) for row, data in named], checkpoint, total
        )

    def beginning(self, generation: str, view: str, prefix: str, limit: int) -> list[str]:
        """Up to `limit` ids of rows of a view that begin with a prefix, in order."""
        found: set[bytes] = set()
        scan = ("HSCAN", self._keys.rows(generation, view))
        cursor = b"0"
        while len(found) < limit:
            with _of(generation):
                cursor, flat = self._pool.call(*scan, cursor, "MATCH", f"{prefix}*", "COUNT", SCANNED)
            found.update(flat[::2])
            if cursor == b"0":
                break
        return sorted(row.decode("utf-8", "replace") for row in found)[:limit]

    def dump(self, generation: str, view: str) -> list[tuple[str, bytes]]:
        """All rows of a view in row order. Rows changed meanwhile may have either state: compare the checkpoints."""
        rows: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            with _of(generation):
                cursor, flat = self._pool.call("HSCAN", self._keys.rows(generation, view), cursor, "COUNT", CHUNK)
            rows.update(_pairs(flat))
            if cursor == b"0":
                break
        self._check_sizes(generation, [f"rows:{view}"])
        named = [(row.decode("utf-8", "replace"), data) for row, data in sorted(rows.items())]
        return [(row, without_checksum(generation, view, row, data)) for row, data in named]

    def indexes(self, generation: str, view: str) -> dict[str, dict[str, int]]:
        """All indexes of a view that are not empty."""
        with _of(generation):
            fields = self._pool.call("HKEYS", self._keys.checkpoint(generation))
        prefix = f"index:{view}:"
        names = sorted(field.decode("utf-8", "replace").removeprefix(SIZE) for field in fields)
        names = [name for name in names if name.startswith(prefix)]
        found = {name.removeprefix(prefix): self._scores(generation, name) for name in names}
        self._check_sizes(generation, names)
        return {name: scores for name, scores in found.items() if scores}

    def _check_sizes(self, generation: str, names: Sequence[str]) -> None:
        """Raise ViewDamaged unless these keys hold as many entries as were saved."""
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            sizes: Command = ("HMGET", self._keys.checkpoint(generation), *(SIZE + name for name in some))
            held: list[Command] = [
                ("HLEN" if name.startswith("rows:") else "ZCARD", self._keys.view(generation) + name) for name in some
            ]
            with _of(generation):
                known, *found = self._pool.transaction([sizes, *held])
            for name, size, count in zip(some, known, found, strict=True):
                check_size(generation, name, size, count)

    def _scores(self, generation: str, name: str) -> dict[str, int]:
        scores: dict[str, int] = {}
        key, start = self._keys.view(generation) + name, 0
        while True:
            with _of(generation):
                found = self._pool.call("ZRANGE", key, start, start + CHUNK - 1, "WITHSCORES")
            scores.update([(row.decode("utf-8", "replace"), int(score)) for row, score in found])
            if len(found) < CHUNK:
                return scores
            start += CHUNK

    def leaving(self, generation: str) -> bool:
        """Whether a generation was replaced by another one and expires soon."""
        return bool(self._pool.call("PTTL", self._keys.checkpoint(generation)) >= 0)

    def switch(self, old: str | None, new: str) -> bool:
        """Point readers at generation `new` if they still use `old`."""
        keys = [self._keys.views, self._keys.checkpoint(old or new), self._keys.members(old or new)]
        keys.append(self._keys.checkpoint(new))
        return bool(self._pool.script(SWITCH, keys, [(old or "").encode("utf-8", "surrogateescape"), new, LINGER_MS]))

    def drop_older(self) -> None:
        """Delete the generation of an older layout that readers of an older release use, with their pointer."""
        pointer = self._keys.older_views
        try:
            name: bytes | None = self._pool.call("GET", pointer)
        except WrongType:
            return
        if name is None:
            return
        for some in self._pool.scan(self._keys.log, self._keys.all_of(name.decode("utf-8", "surrogateescape")), CHUNK):
            self._pool.call("UNLINK", *some)
        self._pool.call("UNLINK", pointer)

    def drop(self, generation: str) -> None:
        """Delete a generation. Raises `Refused` for the one that readers use.

        Its keys are found by their names, as a damaged generation does not list all of them.
        """
        if self.current() == generation:
            raise Refused(f"generation {generation} is in use", "views", "switch to another one first")
        for some in self._pool.scan(self._keys.log, self._keys.all_of(generation), CHUNK):
            self._pool.call("UNLINK", *some)
