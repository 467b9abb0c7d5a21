"""The rows, indexes and checkpoints of the views on a server, by generation.

A generation is a set of keys of its own: a hash of rows a view, a sorted set an index, a checkpoint. Readers follow
one pointer, so that a rebuilt generation replaces the old one at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maestro.model.errors import Refused
from maestro.store.contract import Checkpoint, Page, PageQuery, RowChange
from maestro.store.keys import Keys
from maestro.store.link import Command
from maestro.store.links import Links, Script

SAVE = Script("save.lua")
PAGE = Script("page.lua")
SWITCH = Script("switch.lua")
CHUNK = 1000
LINGER_MS = 60_000
"""How long a generation stays after readers were pointed elsewhere: a reader may be between two calls."""


def _checkpoint(fields: Mapping[bytes, bytes]) -> Checkpoint:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return Checkpoint(
        int(text.get("seq", 0)),
        text.get("chain", ""),
        int(text.get("at", 0)),
        int(text.get("floor", 0)),
        text.get("stopped", ""),
    )


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A hash as a script returns it."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


class _Writes:
    """The changes of one save, gathered by key: the last word on each row and index entry wins."""

    def __init__(self, keys: Keys, generation: str, changes: Sequence[RowChange]) -> None:
        rows: dict[str, dict[str, bytes | None]] = {}
        entries: dict[tuple[str, str], dict[str, int | None]] = {}
        for change in changes:
            rows.setdefault(change.view, {})[change.row] = change.data
            for index in change.remove:
                entries.setdefault((change.view, index), {})[change.row] = None
            for index, score in change.add.items():
                entries.setdefault((change.view, index), {})[change.row] = score
        self.keys: list[str] = []
        self.args: list[bytes | str | int] = []
        for view, cells in rows.items():
            self.keys.append(keys.rows(generation, view))
            self._command("HSET", [(row, data) for row, data in cells.items() if data is not None])
            self._command("HDEL", [(row,) for row, data in cells.items() if data is None])
        for (view, index), scores in entries.items():
            self.keys.append(keys.index(generation, view, index))
            self._command("ZADD", [(score, row) for row, score in scores.items() if score is not None])
            self._command("ZREM", [(row,) for row, score in scores.items() if score is None])

    def _command(self, name: str, items: Sequence[tuple[bytes | str | int | None, ...]]) -> None:
        for start in range(0, len(items), CHUNK):
            flat = [part for item in items[start : start + CHUNK] for part in item if part is not None]
            self.args += (name, len(self.keys) + 2, len(flat), *flat)


class RedisViews:
    """`ViewStore` on a server."""

    def __init__(self, keys: Keys, links: Links) -> None:
        self._keys = keys
        self._links = links

    def current(self) -> str | None:
        """The generation that readers use."""
        name: bytes | None = self._links.call("GET", self._keys.views)
        return None if name is None else name.decode()

    def checkpoint(self, generation: str) -> Checkpoint:
        """How far it is."""
        return _checkpoint(self._links.call("HGETALL", self._keys.checkpoint(generation)))

    def load(self, generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), and the checkpoint."""
        by_view: dict[str, list[str]] = {}
        for view, row in wanted:
            by_view.setdefault(view, []).append(row)
        commands: list[Command] = [("HGETALL", self._keys.checkpoint(generation))]
        commands += [("HMGET", self._keys.rows(generation, view), *rows) for view, rows in by_view.items()]
        fields, *replies = self._links.together(commands)
        rows = {view: iter(reply) for view, reply in zip(by_view, replies, strict=True)}
        return _checkpoint(fields), [next(rows[view]) for view, _ in wanted]

    def save(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> bool:
        """Write everything, or nothing where the checkpoint is not `before` any more."""
        writes = _Writes(self._keys, generation, changes)
        checkpoint = self._keys.checkpoint(generation)
        fields: tuple[str | int, ...] = ("seq", after.seq, "chain", after.chain, "at", after.at, "floor", after.floor)
        fields += ("stopped", after.stopped)
        return bool(
            self._links.script(
                SAVE,
                [checkpoint, self._keys.members(generation), *writes.keys],
                [before.seq, before.chain, before.stopped, len(fields), *fields, *writes.args],
            )
        )

    def page(self, generation: str, query: PageQuery) -> Page:
        """A page of an index, its rows and its checkpoint in one call."""
        low = "-inf" if query.min_score is None else query.min_score
        high = "+inf" if query.max_score is None else query.max_score
        keys = [
            self._keys.checkpoint(generation),
            self._keys.index(generation, query.view, query.index),
            self._keys.rows(generation, query.view),
        ]
        newest = "1" if query.newest else ""
        args: list[bytes | str | int] = [low, high, query.offset, query.limit, newest, query.prefix]
        fields, total, ids, rows = self._links.script(PAGE, keys, args)
        found = [(row.decode(), data) for row, data in zip(ids, rows, strict=True) if data is not None]
        return Page(found, _checkpoint(_pairs(fields)), total)

    def dump(self, generation: str, view: str) -> list[tuple[str, bytes]]:
        """All rows in row order. Rows that change meanwhile may be of either state: compare the checkpoints."""
        rows: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            cursor, flat = self._links.call("HSCAN", self._keys.rows(generation, view), cursor, "COUNT", CHUNK)
            rows.update(_pairs(flat))
            if cursor == b"0":
                return [(row.decode(), data) for row, data in sorted(rows.items())]

    def indexes(self, generation: str, view: str) -> dict[str, dict[str, int]]:
        """All indexes of a view that hold something."""
        prefix = self._keys.index(generation, view, "")
        found: dict[str, dict[str, int]] = {}
        for key in sorted(self._links.call("SMEMBERS", self._keys.members(generation))):
            name = key.decode()
            if name.startswith(prefix):
                scores = self._scores(name)
                if scores:
                    found[name.removeprefix(prefix)] = scores
        return found

    def _scores(self, key: str) -> dict[str, int]:
        scores: dict[str, int] = {}
        start = 0
        while True:
            found = self._links.call("ZRANGE", key, start, start + CHUNK - 1, "WITHSCORES")
            scores.update((row.decode(), int(score)) for row, score in found)
            if len(found) < CHUNK:
                return scores
            start += CHUNK

    def switch(self, old: str | None, new: str) -> bool:
        """Point readers at `new` if they use `old` still."""
        members = self._keys.members(old or new)
        args: list[bytes | str | int] = [old or "", new, LINGER_MS]
        return bool(self._links.script(SWITCH, [self._keys.views, members], args))

    def drop(self, generation: str) -> None:
        """Delete a generation. Raises `Refused` for the one that readers use."""
        if self.current() == generation:
            raise Refused(f"generation {generation} is in use", "views", "switch to another one first")
        members: Any = self._links.call("SMEMBERS", self._keys.members(generation))
        for start in range(0, len(members), CHUNK):
            self._links.call("UNLINK", *list(members)[start : start + CHUNK])
        self._links.call("UNLINK", self._keys.checkpoint(generation), self._keys.members(generation))
