"""The plan of a restore, as data: what was asked for, what becomes of each workspace, what becomes of the state."""

from __future__ import annotations

import shlex

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import AgentAssigned
from maestro.model.restore import Archived, Fate, Span
from maestro.runtime.restores.past import Past


class RestoreRequest(msgspec.Struct, frozen=True):
    """What was asked for. source: an id, `latest` or the path of an export, None for the newest archives at `at`.

    workspace: put back this one only, and leave the state as it is. replace_foreign: folders that are nobody's here,
    and may be replaced. loaded: the log came from the snapshot just now: it makes no agent at home here.
    """

    source: str | None
    at: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    replace_foreign: tuple[str, ...] = ()
    loaded: bool = False


class Placement(msgspec.Struct, kw_only=True):
    """A workspace and where it comes from. root: the agent's root of workspaces; recorded: the path that it had.

    why_not: it cannot be put back, or ""; damaged: because what was kept of it is. is_foreign: nobody here works in
    what would be replaced. is_barred: it may not be this agent's workspace here, unless a user says so.
    """

    agent: str
    root: str
    workspace: str
    recorded: str
    archived: Archived | None = None
    why_not: str = ""
    is_foreign: bool = False
    is_barred: bool = False
    damaged: bool = False


class RestorePlan(msgspec.Struct, kw_only=True):
    """A restore as it would be. to: None where the state stays as it is. source: what it comes from, in words.

    head: the end of the log; loads: it is empty, and loaded first; now: the agents that there are; fates: what becomes
    of them; waiting: those that an earlier restore left stopped, as the workspace was lost; assigned: those that are
    assigned anew; undone, regained: events that hold no more, and again; away: nodes that are not up.
    """

    to: int | None
    source: str
    head: int
    past: Past
    now: dict[str, Agent]
    away: frozenset[str]
    loads: bool = False
    by_time: bool = False
    placements: list[Placement] = []
    fates: list[Fate] = []
    waiting: list[str] = []
    assigned: list[AgentAssigned] = []
    undone: list[Span] = []
    regained: list[Span] = []

    @property
    def lacking(self) -> str:
        """Why a workspace is not to be had."""
        if self.by_time:
            return f"there is no archive of it at or before position {self.past.position}"
        earlier = f"; with --at {self.past.position} it comes from an earlier one, where there is one"
        return f"it is not in {self.source}{'' if self.loads else earlier}"

    @property
    def restorable(self) -> list[tuple[Placement, Archived]]:
        """What can be put back, with its archive."""
        return [(each, each.archived) for each in self.placements if each.archived is not None and not each.why_not]

    @property
    def failing(self) -> list[Placement]:
        """What cannot."""
        return [each for each in self.placements if each.why_not]

    @property
    def naming(self) -> str:
        """How a user allows what is refused only as it is nobody's here, in words; "" where nothing is."""
        named = [f"--replace-foreign {shlex.quote(each.workspace)}" for each in self.failing if each.is_foreign]
        return f"replace them with {' '.join(named)}, " if named else ""
