"""The census of a plan: every open slot that does not run, by what it waits for, and since when.

It is kept as the plan changes, so that metrics and alerts need not look at each task. Slots of one lane wait for the
same; so what agents, workspaces and nodes have to do with it is asked once a lane, when somebody wants to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maestro.model.scheduling.lanes import Lane

DEPENDENCY, RETRY, START = "dependency", "retry", "start"
"""What a slot waits for that is in no lane; `start`: it is released, and its node has not started it."""

Key = tuple[str, int]
"""A slot: its task, and its number there."""

Group = str | tuple[Lane, str]
"""Slots that wait for the same: one of these words, or a lane and the run of a workflow that the slots belong to."""


class Census:
    """The slots of open tasks that do not run."""

    def __init__(self) -> None:
        self._groups: dict[Group, dict[Key, int]] = {}
        self._at: dict[Key, tuple[Group, dict[Key, int]]] = {}

    def put(self, task: str, slot: int, group: Group, since: int) -> None:
        """Have a slot wait in a group, and in no other. since: server ms."""
        key = (task, slot)
        self._put(key, self._at.get(key), group, since)

    def stay(self, task: str, slot: int, group: Group, since: int) -> None:
        """As `put`, but one that waits already has waited since then."""
        key = (task, slot)
        before = self._at.get(key)
        self._put(key, before, group, since if before is None else before[1][key])

    def _put(self, key: Key, before: tuple[Group, dict[Key, int]] | None, group: Group, since: int) -> None:
        slots = self._groups.get(group)
        if slots is None:
            slots = self._groups[group] = {}
        if before is not None and before[1] is not slots:
            self._take(key, *before)
        slots[key] = since
        self._at[key] = (group, slots)

    def leave(self, task: str, slot: int) -> None:
        """Have a slot wait no more."""
        key = (task, slot)
        before = self._at.pop(key, None)
        if before is not None:
            self._take(key, *before)

    def _take(self, key: Key, group: Group, slots: dict[Key, int]) -> None:
        del slots[key]
        if not slots:
            del self._groups[group]

    def since(self, task: str, slot: int) -> int:
        """Since when a slot waits in its group, a released one in its lane; 0 for one that does not wait."""
        key = (task, slot)
        at = self._at.get(key)
        return 0 if at is None else at[1][key]

    def groups(self) -> Iterator[tuple[Group, Mapping[Key, int]]]:
        """Each group with its slots, and since when each of these waits."""
        yield from self._groups.items()
