"""The answer of a restore: what was put back from where, what was left, and the command that undoes it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from maestro.model.restore import Archived
from maestro.runtime.restores.bystanders import Bystander
from maestro.runtime.restores.journal import BegunRestore
from maestro.runtime.restores.plan import Placement, RestorePlan
from maestro.runtime.server.rows import Row, when

Placed = Sequence[tuple[Placement, Archived]]
Lacking = tuple[Sequence[Placement], Sequence[Row]]
"""Workspaces that were left as they are, and damaged files that were left out."""


class Answer:
    """The answer of a restore that is done.

    placed: the workspaces that were put back, each with its archive; lacking: workspaces and files that were not;
    standing: processes whose working folder is one of the folders that were replaced.
    """

    def __init__(
        self, begun: BegunRestore, planned: RestorePlan, placed: Placed, lacking: Lacking, standing: Sequence[Bystander]
    ) -> None:
        self._begun = begun
        self._planned = planned
        self._placed = placed
        self._skipped, self._damaged = lacking
        self._standing = standing

    def row(self) -> Row:
        """The answer as it is sent to the client."""
        begun, past = self._begun, self._planned.past
        put = {target.workspace for target in begun.targets}
        open_then = [task.id for task in past.tasks] if begun.to is not None else []
        runs_then = [run.id for run in past.runs] if begun.to is not None else []
        return {
            "restore": begun.restore,
            "source": begun.source,
            "position": past.position,
            "at": when(past.at),
            "state_restored": begun.to is not None,
            "workspaces": [self._told(*each) for each in self._placed if each[0].workspace in put],
            "skipped": [
                {"agent": each.agent, "workspace": each.workspace, "why": each.why_not, "damaged": each.damaged}
                for each in self._skipped
            ],
            "damaged": self._damaged,
            "cancelled": [] if begun.resume else open_then,
            "resumed": open_then if begun.resume else [],
            "cancelled_workflow_runs": [] if begun.resume else runs_then,
            "resumed_workflow_runs": runs_then if begun.resume else [],
            "before": begun.before,
            "undo": undo(begun),
            "standing": [
                {"pid": each.pid, "command": each.command, "workspace": each.workspace} for each in self._standing
            ],
        }

    def _told(self, placement: Placement, archived: Archived) -> Row:
        return {
            "agent": placement.agent,
            "workspace": placement.workspace,
            "node": placement.node or self._planned.here,
            "snapshot": archived.snapshot,
            "archived_position": archived.position,
            "events_apart": self._planned.past.position - archived.position,
        }


def undo(begun: BegunRestore) -> str | None:
    """The command that brings back what was there before the restore, as it is to be typed; None where nothing was."""
    command = f"maestro state restore {begun.before}"
    if begun.to is not None:
        return f"{command} --skip-failed" if begun.lacking else command
    if begun.lacking:
        return None
    for each in begun.targets:
        place = shlex.quote(each.workspace)
        command += f" --workspace {each.name or place}" + (f" --replace-foreign {place}" if each.foreign else "")
    return command


def undo_told(begun: BegunRestore) -> str:
    """How to undo the restore, in words."""
    command = undo(begun)
    return f"to undo it: {command}" if command else "nothing was there before, so that there is nothing to undo"


def foreign_told(begun: BegunRestore) -> list[str]:
    """How to bring back what was in folders that were no agent's, in words: undoing a whole restore does not."""
    told = []
    for each in begun.targets if begun.to is not None else ():
        if each.foreign:
            place = shlex.quote(each.workspace)
            again = f"maestro state restore {begun.before} --workspace {each.name or place} --replace-foreign {place}"
            told.append(f"to bring back what was in {each.workspace}: {again}")
    return told
