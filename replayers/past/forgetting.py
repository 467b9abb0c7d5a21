"""Forgets the versions of subjects that ended: those whose events are sealed, and of which no view has a row any more.

Only a new subject could be appended to without its version. So the log remembers up to where versions may be gone (the
horizon), and refuses who makes a subject without having read that far: the views and the index of sealed history say
then whether there was one. `projections/README.md` says why that is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.model.events import ForwardAnswered, RestoreDone, RestoreFailed, RestorePartPlaced, RestorePlaced
from maestro.model.ids import task_of_run
from maestro.store.contract import Store
from maestro.store.keys import FLOOR, HORIZON, may_be_forgotten
from projections import restores, settings, snapshots, state, tasks, workflow_runs
from projections.monitoring import alerts, deliveries
from projections.projector import NEWER, Projector

A_TIME = 1000

_VIEWS = {
    "task": tasks.NAME,
    "run": tasks.NAME,
    "state": state.NAME,
    "workflow-run": workflow_runs.NAME,
    "snapshot": snapshots.NAME,
    "alert": alerts.NAME,
    "delivery": deliveries.NAME,
    "restore": restores.NAME,
    "forward": "",
}
"""The view of each kind of subject that may be forgotten, "" where there is none."""
_ENDS = {
    "forward": (ForwardAnswered,),
    "restore": (RestoreDone, RestorePlaced, RestoreFailed, RestorePartPlaced),
}
"""The facts that end what may be open without a row: a forwarded command, and a restore of one node."""


def row_of(subject: str) -> tuple[str, str] | None:
    """The view and the id of the row that a subject's version is needed for, None where it must not be forgotten."""
    kind, _, name = subject.partition(":")
    if kind not in _VIEWS or not may_be_forgotten(subject):
        return None
    row = task_of_run(name) if kind == "run" else subject if kind == "delivery" else name
    return _VIEWS[kind], row


def horizon(versions: Mapping[str, int]) -> int:
    """The position up to which versions may have been forgotten."""
    return versions.get(HORIZON, 0)


def forget(store: Store) -> int:
    """Forget all versions that no view needs; returns how many. It may be broken off anywhere, and done by anybody.

    Nothing is forgotten where a later build made the views.
    """
    projector = Projector(store)
    checkpoint = projector.catch_up()
    if checkpoint.stopped == NEWER:
        return 0
    _, (data,) = store.views.load(projector.generation, [(settings.NAME, settings.SEALED)])
    upto = 0 if data is None else int(settings.decode(settings.SEALED, data).value)
    versions = store.log.versions() if upto else {}
    old = {name: seq for name, seq in versions.items() if name not in (FLOOR, HORIZON) and seq <= upto}
    gone = 0
    for some in _parts([name for name in old if row_of(name) is not None]):
        rows = {name: row for name in some if (row := row_of(name)) is not None and row[0]}
        _, found = store.views.load(projector.generation, list(rows.values()))
        held = {name for name, row in zip(rows, found, strict=True) if row is not None}
        ended = {name: old[name] for name in some if name not in held and _is_over(store, name, old[name])}
        if ended:
            gone += store.log.forget(ended, upto)
    return gone


def _is_over(store: Store, subject: str, version: int) -> bool:
    """Whether what has no row has ended. version: the position of its last event."""
    ends = _ENDS.get(subject.partition(":")[0])
    event = store.log.event(version) if ends else None
    return ends is None or (event is not None and isinstance(event.fact, ends))


def _parts(names: list[str]) -> Iterable[list[str]]:
    return (names[start : start + A_TIME] for start in range(0, len(names), A_TIME))
