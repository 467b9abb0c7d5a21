"""The run of the golden log: it has every key and every field, and is one that the leader would have told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from maestro import __version__
from maestro.model import events as e
from maestro.model.events import AnyFact
from maestro.model.facts import workflow as facts
from maestro.model.workflow import definition
from maestro.model.workflow.checks import findings
from maestro.model.workflow.decide import Work, decide
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.run import Run
from tests.replayers import golden_run
from tests.replayers.golden_log import FOLDER as GOLDEN, START, event_of, read

OF_WORKFLOWS = [fact for fact in get_args(AnyFact) if fact.__module__ == facts.__name__]
MAPPINGS = [kind for kind in vars(definition).values() if isinstance(kind, type) and issubclass(kind, definition.Keys)]
TOLD = [event.fact for event in golden_run.told()]
PEOPLE = (e.WorkflowRunPaused, e.WorkflowRunResumed, e.StepApproved, e.WorkflowRunAdmitted)
NODES = (e.WorkspaceArchived, e.WorkspaceReturned)
WORKS = {
    e.StepReadied: "ready",
    e.StepStarted: "start",
    e.LoopTurned: "turn",
    e.WorkspaceArchiveWanted: "archive",
    e.WorkspaceRestoreWanted: "restore",
}


def structs(value: Any) -> Iterator[msgspec.Struct]:
    """All structs in a value."""
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from structs(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from structs(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from structs(one)


def unused(kinds: list[type[Any]], found: list[msgspec.Struct]) -> set[str]:
    """The fields of these types that no struct has another value in than the default."""
    return {
        f"{kind.__name__}.{field.name}"
        for kind in kinds
        for field in msgspec.structs.fields(kind)
        if all(getattr(one, field.name) == _default(field) for one in found if type(one) is kind)
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator]


def test_its_definition_has_every_key_and_no_fault() -> None:
    workflow = msgspec.convert(golden_run.DEFINITION, Workflow)
    assert findings(workflow) == []
    assert unused([kind for kind in MAPPINGS if kind is not definition.Keys], list(structs(workflow))) == set()


def test_every_field_of_every_fact_of_workflows_has_a_value_somewhere_in_the_log() -> None:
    found = [event_of(entry).fact for entry in read(GOLDEN / f"{__version__}.jsonl")]
    assert unused(OF_WORKFLOWS, [one for fact in found for one in structs(fact)]) == set()


@pytest.mark.parametrize("id", [golden_run.RUN, golden_run.BELOW])
def test_each_fact_of_it_is_one_that_was_to_be_told_next(id: str) -> None:
    mine = [fact for fact in TOLD if getattr(fact, "run", "") == id and type(fact) in OF_WORKFLOWS]
    started = mine[0]
    assert isinstance(started, e.WorkflowRunStarted) and isinstance(started.definition, str)
    now = START
    run = Run(started, now, msgspec.json.decode(started.definition, type=Workflow))
    for fact in mine[1:]:
        now = run.asking[fact.instance] if isinstance(fact, e.StepApproved) else now + 1000
        if isinstance(fact, NODES):
            assert fact.instance in run.wishes
        elif isinstance(fact, e.StepEnded) and fact.instance in run.working:
            pass
        elif not isinstance(fact, PEOPLE) or getattr(fact, "timed_out", False):
            assert expected(fact) & set(map(repr, decide(run, now))), (fact, decide(run, now))
        run.apply(fact, now)
    assert run.ended and not run.working
    assert {one.status for one in run.instances.values()} <= {"completed", "failed", "skipped", "timed_out"}


def expected(fact: Any) -> set[str]:
    """What the decision says that leads to a fact: itself, or work."""
    if isinstance(fact, e.WorkflowRunFinished):
        fact = msgspec.structs.replace(fact, result="")  # which the shell adds
    kind = WORKS.get(type(fact))
    subject = getattr(fact, "instance", None) or getattr(fact, "step", "")
    return {repr(fact), repr(Work(kind, subject))} if kind else {repr(fact)}  # type: ignore[arg-type]
