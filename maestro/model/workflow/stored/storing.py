"""Decisions on stored workflows: a new version, the end of one, its schedules on or off."""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import NewEvent, WorkflowDeleted, WorkflowStored, WorkflowSwitched
from maestro.model.ids import check_id, shown
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.stored_workflow import StoredVersion, StoredWorkflow

FILE_ENDS = (".yaml", ".yml", ".json")
NAMED_MAX = 5
LIST = "maestro workflow list shows all"


def check_workflow_id(name: str) -> str:
    """The id of a workflow, if it can be one. Raises Invalid, also for what `workflow run` would take for a file."""
    check_id(name, "workflow")
    if name.lower().endswith(FILE_ENDS):
        raise Invalid(f"{shown(name)} looks like a file", mend=f"leave the end out: {name.rpartition('.')[0]}")
    return name


def decide_store(
    wanted: WorkflowStored, row: StoredWorkflow | None, newest: WorkflowStored | None, floor: int = 0
) -> list[NewEvent]:
    """Store a definition as the next version; nothing where it is the newest one already.

    newest: the event of the newest version. The version of `wanted` is set here.
    """
    check_workflow_id(wanted.workflow)
    if row is not None and not row.deleted and newest is not None:
        same = (newest.definition, newest.source) == (wanted.definition, wanted.source)
        if same:
            return []
    version = row.newest.version + 1 if row is not None else 1
    fact = WorkflowStored(
        wanted.workflow, version, wanted.definition, wanted.source, wanted.digest, wanted.title, wanted.schedules
    )
    return [NewEvent(f"workflow:{wanted.workflow}", fact, _version(row, floor))]


def decide_delete(
    workflow: str, row: StoredWorkflow | None, open_runs: Sequence[RunHeader], floor: int = 0
) -> list[NewEvent]:
    """End a workflow. open_runs: of it. Raises NotFound; Refused while a run is open."""
    row = usable(workflow, row)
    if open_runs:
        named = ", ".join(run.id for run in open_runs[:NAMED_MAX])
        more = f" and {len(open_runs) - NAMED_MAX} more" if len(open_runs) > NAMED_MAX else ""
        has = "a run is" if len(open_runs) == 1 else "runs are"
        raise Refused(
            f"{has} open of workflow {workflow}: {named}{more}", mend=f"maestro workflow stop {workflow} ends them"
        )
    return [NewEvent(f"workflow:{workflow}", WorkflowDeleted(workflow), _version(row, floor))]


def decide_switch(workflow: str, enabled: bool, row: StoredWorkflow | None, floor: int = 0) -> list[NewEvent]:
    """Switch the schedules of a workflow; nothing where they are so already. Raises NotFound."""
    row = usable(workflow, row)
    if row.enabled == enabled:
        return []
    return [NewEvent(f"workflow:{workflow}", WorkflowSwitched(workflow, enabled), _version(row, floor))]


def known(workflow: str, row: StoredWorkflow | None) -> StoredWorkflow:
    """A workflow that is stored, or was. Raises NotFound."""
    if row is None:
        raise NotFound(f"there is no workflow {shown(workflow)}", mend=LIST, sought=("workflow", workflow))
    return row


def usable(workflow: str, row: StoredWorkflow | None) -> StoredWorkflow:
    """A workflow that is stored. Raises NotFound, Refused for one that was deleted."""
    row = known(workflow, row)
    if row.deleted:
        mend = f"maestro workflow create {workflow} --definition FILE stores it again"
        raise Refused(f"workflow {workflow} is deleted", mend=mend)
    return row


def numbered(row: StoredWorkflow, version: int) -> StoredVersion:
    """A version of a workflow, the newest for 0. Raises NotFound."""
    found = row.numbered(version) if version else row.newest
    if found is None:
        first, last = row.versions[0].version, row.newest.version
        has = f"version {first} only" if first == last else f"versions {first} to {last}"
        raise NotFound(f"workflow {row.id} has no version {version}", mend=f"it has {has}")
    return found


def _version(row: StoredWorkflow | None, floor: int) -> int:
    return max(row.seq, floor) if row is not None else floor
