"""Whose turn it is among the snapshots and restores that several nodes take part in: one of them is on at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Work(NamedTuple):
    """A snapshot or a restore over several nodes that is not over. asked: the position of its wish.

    begun: its turn has come. within: the restore that a snapshot is a step of, "" for none.
    """

    asked: int
    kind: str
    id: str
    begun: bool = False
    within: str = ""


def may_begin(work: Work, works: Collection[Work]) -> bool:
    """Whether its turn has come: nothing else is on, and nothing was asked for before it. works: all, with this one.

    A step of a restore has its turn while that is on, and no other.
    """
    if work.begun:
        return False
    if work.within:
        return any(other.id == work.within and other.begun for other in works)
    others = [other for other in works if other != work]
    return not any(other.begun or (not other.within and other.asked < work.asked) for other in others)


def is_over(restore: str, works: Collection[Work]) -> bool:
    """Whether a restore that a snapshot is a step of is on no more."""
    return not any(other.id == restore and other.kind == "restore" for other in works)
