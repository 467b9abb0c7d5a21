"""Decisions of `maestro schedule`: a schedule is added, removed, switched on or off, or fired by hand."""

from __future__ import annotations

from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import NewEvent, ScheduleAdded, ScheduleRemoved, ScheduleSwitched
from maestro.model.ids import check_id, shown
from maestro.model.schedules.schedule import Schedule

POLICIES = ("once", "skip")
LIST = "maestro schedule list shows all"


def decide_add(wanted: ScheduleAdded, row: Schedule | None, floor: int) -> list[NewEvent]:
    """Add a schedule, or replace the one of that name; nothing where it is there as it is wanted."""
    check_id(wanted.schedule, "schedule")
    if wanted.missed not in POLICIES:
        raise Invalid(f"{shown(wanted.missed)} is unknown", "--missed", "use once or skip")
    if row is not None and row.enabled and _same(row, wanted):
        return []
    return [NewEvent(f"schedule:{wanted.schedule}", wanted, _version(row, floor))]


def _same(row: Schedule, wanted: ScheduleAdded) -> bool:
    names = ("cron", "tz", "missed", "cwd", "node", "request")
    return all(getattr(row, name) == getattr(wanted, name) for name in names)


def decide_remove(name: str, row: Schedule | None, floor: int) -> list[NewEvent]:
    """Remove a schedule. Raises as `existing`."""
    row = existing(name, row)
    return [NewEvent(f"schedule:{name}", ScheduleRemoved(name), _version(row, floor))]


def decide_switch(name: str, enabled: bool, row: Schedule | None, floor: int) -> list[NewEvent]:
    """Switch a schedule on or off; nothing where it is so already. Raises as `existing`."""
    row = existing(name, row)
    if row.enabled == enabled:
        return []
    return [NewEvent(f"schedule:{name}", ScheduleSwitched(name, enabled), _version(row, floor))]


def existing(name: str, row: Schedule | None) -> Schedule:
    """The schedule of a command, which must be there. Raises NotFound; Refused for the schedule of a workflow."""
    workflow, number = parts_of(name)
    if number is not None:
        does = f"maestro workflow disable {workflow}, or take it out of its definition"
        raise Refused(f"{shown(name)} belongs to workflow {workflow}", mend=does)
    if row is None:
        raise unknown(name)
    return row


def unknown(name: str) -> NotFound:
    """The error for a schedule that is not there."""
    return NotFound(f"there is no schedule {shown(name)}", mend=LIST, sought=("schedule", name))


def parts_of(schedule: str) -> tuple[str, int | None]:
    """The workflow of a schedule `<workflow>#<n>`, and n; the name and None for a schedule of a command."""
    workflow, mark, number = schedule.rpartition("#")
    if mark and workflow and number.isascii() and number.isdigit():
        return workflow, int(number)
    return schedule, None


def _version(row: Schedule | None, floor: int) -> int:
    return max(row.version, floor) if row is not None else floor
