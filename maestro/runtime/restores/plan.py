"""The plan of a restore, as data: the request, what becomes of each workspace, what becomes of the state."""

from __future__ import annotations

import shlex
from collections.abc import Collection

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import AgentAssigned
from maestro.model.forks.fork import Branch
from maestro.model.restore import Archived, Fate, Span, kept_places
from maestro.runtime.restores.past import Past


class RestoreRequest(msgspec.Struct, frozen=True):
    """What a user asks to restore. source: an id, `latest` or the path of an export, None for the newest archives at
    `at`.

    workspace: put back this workspace only, and leave the state as it is. skip_failed: leave out what cannot be put
    back. replace_foreign: folders that are no agent's here, and may be replaced. loaded: the log was loaded from the
    snapshot just now, so that it does not prove which agents are at home here.
    """

    source: str | None
    at: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    replace_foreign: tuple[str, ...] = ()
    loaded: bool = False


class Placement(msgspec.Struct, kw_only=True):
    """A workspace that a restore puts back, and the archive that it comes from.

    root: the agent's root of workspaces; recorded: the path that the workspace had. why_not: why it cannot be put back,
    or ""; damaged: because its archive is.
    node: on which it is put back, "" for this one. is_foreign: the folder that would be replaced is no agent's here.
    is_barred: the folder may not be this agent's workspace here, unless a user says so.
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
    node: str = ""


class RestorePlan(msgspec.Struct, kw_only=True):
    """All that a restore would change. to: the position that the state goes back to, None where it stays as it is.

    source: where it comes from, in words; named: the id of the snapshot that the user named, "" for none; head: the end
    of the log; loads: the log is empty, and loaded first; now: the agents that there are; fates: what becomes of them;
    waiting: agents that an earlier restore left stopped, as their workspaces were lost; assigned: the assignments that
    it makes; undone, regained: the positions of events that hold no more, and of those that hold again; away: nodes
    that are not up, gone: those of them that do not come back; others: those beside this one that take part. here: this
    node; is_file: it comes from an export file. branch: where this installation was forked from: the workspaces of the
    history before that are another namespace's, and never touched; None where it is no fork.
    """

    to: int | None
    source: str
    head: int
    past: Past
    now: dict[str, Agent]
    away: frozenset[str]
    loads: bool = False
    named: str = ""
    by_time: bool = False
    placements: list[Placement] = []
    fates: list[Fate] = []
    waiting: list[str] = []
    assigned: list[AgentAssigned] = []
    undone: list[Span] = []
    regained: list[Span] = []
    others: list[str] = []
    gone: frozenset[str] = frozenset()
    here: str = ""
    is_file: bool = False
    branch: Branch | None = None

    @property
    def lacking(self) -> str:
        """Why there is no archive of a workspace, in words."""
        if self.by_time:
            return f"there is no archive of it at or before position {self.past.position}"
        earlier = f"; with --at {self.past.position} it comes from an earlier one, where there is one"
        return f"it is not in {self.source}{'' if self.loads else earlier}"

    def name_of(self, placement: Placement) -> str:
        """What names a workspace to a user where an agent of another node has the same path: its agent; else ""."""
        node, agents = placement.node or self.here, self.now.values()
        alike = [row for row in agents if row.workspace == placement.workspace and (row.node or self.here) != node]
        return placement.agent if alike else ""

    @property
    def restorable(self) -> list[tuple[Placement, Archived]]:
        """Workspaces that can be restored, each with its archive."""
        return [(each, each.archived) for each in self.placements if each.archived is not None and not each.why_not]

    def left_out(self, skipped: Collection[str] = ()) -> list[AgentAssigned]:
        """The assignments of those that are left out, and that have moved since: they stay where they are.

        skipped: agents that are left out beside those that cannot be put back.
        """
        out = {each.agent for each in self.failing} | {*skipped}
        return kept_places(out - {each.agent for each in self.assigned}, self.now, self.past.agents)

    @property
    def failing(self) -> list[Placement]:
        """Workspaces that cannot be restored."""
        return [each for each in self.placements if each.why_not]

    @property
    def mend(self) -> str:
        """What the user can do about the workspaces that cannot be restored, in words: all of it, in one go."""
        if self.to is None:
            return self._mend_alone
        named = [f"--replace-foreign {shlex.quote(each.workspace)}" for each in self.failing if each.is_foreign]
        if not named:
            return "mend that, or leave them with --skip-failed"
        rest = [each.agent for each in self.failing if not each.is_foreign]
        if not rest:
            return f"mend that, replace them with {' '.join(named)}, or leave them with --skip-failed"
        both = f"{' '.join(named)} --skip-failed"
        return (
            f"mend that, or go on with {both}, which leaves {', '.join(rest)}; --skip-failed alone leaves all of them"
        )

    @property
    def _mend_alone(self) -> str:
        """As `mend`, where one workspace is put back: there is none to go on with."""
        named = [f" with --replace-foreign {shlex.quote(each.workspace)}" for each in self.failing if each.is_foreign]
        return f"mend that, then try again{''.join(named)}"
