"""Commands that race for one subject: a lost turn is tried again, and only time ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import trio

from maestro.model.errors import Conflict
from maestro.model.events import NewEvent, StateSet
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import Call, Context
from maestro.store.contract import Committed, Rejected
from maestro.store.memory.memory_store import MemoryStore

EVENT = NewEvent("state:k", StateSet("k", "v", None), 1)


class Losing:
    """An append that others beat so many times."""

    def __init__(self, lost: int) -> None:
        self.left = lost
        self.decided = 0

    async def decision(self) -> Sequence[NewEvent]:
        self.decided += 1
        return [EVENT]

    async def append(self, events: Sequence[NewEvent], actor: str, cause: str, read_at: int) -> Committed | Rejected:
        self.left -= 1
        return Rejected("version", EVENT.subject, 1, 2) if self.left >= 0 else Committed(3, 3, 0)


class Asker:
    """As much of a call as a decision needs."""

    caller = type("Caller", (), {"actor": "cli:test"})()
    cause = "cmd:test"


def decided(losing: Losing) -> Any:
    async def story() -> Any:
        context = cast(Any, Context.__new__(Context))
        context.store = MemoryStore("contention")
        return await Context.decide(context, cast(Call, Asker()), losing.decision, losing.append)

    return trio.run(story)


def test_a_command_that_loses_many_turns_decides_anew_each_time_and_gets_its_own() -> None:
    losing = Losing(25)
    assert decided(losing) == Committed(3, 3, 0)
    assert losing.decided == 26


def test_one_that_loses_for_too_long_gives_up_and_says_so() -> None:
    async def story() -> None:
        race = Race("others keep changing it", give_up_s=0.02)
        while True:
            await race.lost()

    with pytest.raises(Conflict, match="others keep changing it"):
        trio.run(story)
