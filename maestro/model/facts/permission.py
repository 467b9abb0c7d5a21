"""What the agents of runs ask for leave to do, and what they are answered."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from maestro.model.facts import Fact


class PermissionOption(msgspec.Struct, frozen=True):
    """An answer that may be given to an agent. kind: as its protocol has it (`allow_once`, `reject_always`, …)."""

    id: str
    kind: str = ""
    name: str = ""


class TaskPermissionAsked(Fact, frozen=True):
    """`task:<id>`: the agent of a run asks whether it may do something, and waits for the answer.

    number: of the request, one of its own in each run. title: what it is about; tool: the kind of tool (`edit`,
    `execute`, …). until: when it is rejected if nobody has answered it, server ms, 0 for never.
    """

    task: str
    run: str
    number: int
    title: str
    options: tuple[PermissionOption, ...]
    tool: str = ""
    until: int = 0


class TaskPermissionAnswered(Fact, frozen=True):
    """`task:<id>`: a request for permission is answered, by a person, or because nobody did in time.

    answer: as it was given; option: the id of the option that it means. reason: why, in words.
    """

    task: str
    run: str
    number: int
    answer: str
    option: str
    reason: str = ""


PermissionFact: TypeAlias = TaskPermissionAsked | TaskPermissionAnswered

PERMISSION_FACTS: dict[str, type[PermissionFact]] = {
    "task.permission_asked": TaskPermissionAsked,
    "task.permission_answered": TaskPermissionAnswered,
}
"""The names of these facts in the stream."""
