"""What happens to schedules: of commands, and of workflows."""

from __future__ import annotations

from typing import TypeAlias

from maestro.model.facts import Fact, Text


class ScheduleAdded(Fact, frozen=True):
    """`schedule:<name>`: a command is to run again and again. Adding it anew replaces it.

    cron: five fields; tz: an IANA zone; missed: `once` or `skip`: what becomes of due times that nobody was there for.
    command: the words behind `maestro`, such as `state snapshot`, as typed, long ones shortened. cwd: the folder that
    its paths are relative to. node: which node carries it out, "" for the leader's. request: what the command line made
    of the words, JSON as in the protocol: this is carried out; prompts and files were read when it was added.
    """

    schedule: str
    cron: str
    tz: str
    missed: str
    command: tuple[str, ...]
    cwd: str = ""
    node: str = ""
    request: Text = ""


class ScheduleRemoved(Fact, frozen=True):
    """`schedule:<name>`: it fires no more."""

    schedule: str


class ScheduleSwitched(Fact, frozen=True):
    """`schedule:<name>`: it is switched on or off."""

    schedule: str
    enabled: bool


class ScheduleFired(Fact, frozen=True):
    """`firing:<schedule>`: a due time is being carried out. schedule: `<name>`, or `<workflow>#<n>`, from 0, of one.

    due: server ms, of the due time in UTC; with the schedule it is the key of the firing. missed: how many due times
    before it were left out; by_hand: a user asked for it, at `due`, which is no due time then. Follows the whole log: a
    restore does not undo it.
    """

    schedule: str
    due: int
    missed: int = 0
    by_hand: bool = False


class ScheduleSkipped(Fact, frozen=True):
    """`firing:<schedule>`: due times up to `until` (server ms) are left out. missed: how many; why: nobody was there,
    or what an earlier one began was still on.
    """

    schedule: str
    until: int
    missed: int = 1
    why: str = ""


class ScheduleEnded(Fact, frozen=True):
    """`firing:<schedule>`: what a firing began, or why it could not. made: the task, workflow run or snapshot."""

    schedule: str
    due: int
    ok: bool
    made: str = ""
    why: str = ""


ScheduleFact: TypeAlias = (
    ScheduleAdded | ScheduleRemoved | ScheduleSwitched | ScheduleFired | ScheduleSkipped | ScheduleEnded
)

SCHEDULE_FACTS: dict[str, type[ScheduleFact]] = {
    "schedule.added": ScheduleAdded,
    "schedule.removed": ScheduleRemoved,
    "schedule.switched": ScheduleSwitched,
    "schedule.fired": ScheduleFired,
    "schedule.skipped": ScheduleSkipped,
    "schedule.ended": ScheduleEnded,
}
"""The names of these facts in the stream."""
