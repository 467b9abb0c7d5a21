"""Traces: spans that end where events say so, with their beginnings, the same ones from wherever reading begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.events import FACTS, NAMES, Event
from maestro.model.tracing import conventions, traces as module
from maestro.model.tracing.identity import traceparent
from maestro.model.tracing.run_spans import run_span
from maestro.model.tracing.span import MARKS_MAX, Span
from maestro.model.tracing.traces import TYPES, Traces, event_of
from replayers.export import plain
from tests.replayers.golden_log import FOLDER as GOLDEN, read

SECRET = "SECRET-TEXT"


def happened(*facts: e.AnyFact) -> list[Event]:
    """Facts as events, one a second."""
    return [Event(seq, "x:y", 1000 * seq, "a", "", 0, fact) for seq, fact in enumerate(facts, 1)]


def spans(events: Iterable[Event], traces: Traces | None = None) -> list[Span]:
    traces = traces or Traces("n")
    return [span for event in events for span in traces.take(event)]


def dispatched(task: str = "t", **more: Any) -> e.TaskDispatched:
    return e.TaskDispatched(task, SECRET, SECRET, ("a",), **more)


def run_of(task: str = "t", attempt: int = 1, outcome: str = "ok", **more: Any) -> Iterator[e.AnyFact]:
    """The facts of an attempt."""
    run = f"{task}-0.{attempt}"
    yield e.RunReleased(run, task, 0, attempt, "a", "n1", 60.0, 0)
    yield e.RunStarted(run, task, "a", "n1", "/f", "/w")
    yield e.RunUsageReported(run, task, "a", 10, 3, 0.5, 4)
    yield e.RunUsageReported(run, task, "a", 5, 2, 0.25)
    yield e.RunEnded(run, task, "a", outcome, 0 if outcome == "ok" else 3, evidence=SECRET, result=SECRET, **more)


def golden() -> list[Event]:
    """The golden log, as `maestro events` shows it: every type of event is in it, and restores."""
    rows = (json.loads(msgspec.json.encode(plain(entry))) for entry in read(GOLDEN / "1.3.0.jsonl"))
    return [event for row in rows if (event := event_of(row)) is not None]


def release() -> list[Event]:
    """The run of a workflow in the golden log, which has every key, and its child. The rest is drawn at random: a task
    may be dispatched twice there, as in no log.
    """
    return [event for event in golden() if event.subject.partition(":")[2].startswith(("R1", "C1"))]


def test_a_task_is_a_span_with_one_below_it_for_each_attempt() -> None:
    events = happened(
        dispatched(), *run_of(outcome="exit"), *run_of(attempt=2), e.TaskFinished("t", "completed", "ok", 0)
    )
    first, second, task = spans(events)
    assert (first.parent, second.parent, task.parent) == (task.id, task.id, "")
    assert len({first.trace, second.trace, task.trace}) == 1
    assert len({first.id, second.id, task.id}) == 3
    assert (first.start, first.end, second.start, task.start, task.end) == (3000, 6000, 8000, 1000, 12000)
    assert (first.name, first.error, second.error, task.error) == ("invoke_agent a", "exit", "", "")
    assert (
        first.attributes
        | {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "a",
            "gen_ai.usage.input_tokens": 15,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "maestro.usage.cost": 0.75,
            "maestro.exit_code": 3,
            "error.type": "exit",
            "maestro.attempt": 1,
        }
        == first.attributes
    )


def test_the_span_of_a_run_is_that_which_the_run_is_told() -> None:
    """TRACEPARENT is made from the dispatch and the token alone, by the node of the run."""
    step = dispatched(workflow="w2", step="s", root="w1")
    started = (e.WorkflowRunStarted("w1", "f", 1, "{}"), e.StepStarted("w1", "c", 1, child="w2"))
    child = e.WorkflowRunStarted("w2", "g", 1, "{}", parent="w1", instance="c", root="w1")
    for given, of in (
        ((dispatched(),), dispatched()),
        ((*started, child, e.StepStarted("w2", "s", 1, "t"), step), step),
    ):
        events = happened(*given, *run_of())
        (span,) = [one for one in spans(events) if one.name == "invoke_agent a"]
        token = next(event.seq for event in events if isinstance(event.fact, e.RunReleased))
        header = traceparent("n", of, "t-0.1", token)
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", header)
        assert header.split("-")[1:3] == [span.trace, span.id]
        assert traceparent("another", of, "t-0.1", token).split("-")[1:3] != [span.trace, span.id]


def test_a_workflow_is_one_trace_down_to_the_runs_of_its_children() -> None:
    found = spans(
        happened(
            e.WorkflowRunStarted("w1", "f", 2, "{}"),
            e.StepReadied("w1", "ask", 1, approval=SECRET),
            e.StepApproved("w1", "ask", True, SECRET),
            e.StepEnded("w1", "ask", "completed", "ok"),
            e.StepReadied("w1", "no", 1, "skip"),
            e.StepStarted("w1", "c#2", 1, child="w2", told=SECRET),
            e.WorkflowRunStarted("w2", "g", 1, "{}", parent="w1", instance="c#2", root="w1", params={"p": SECRET}),
            e.StepStarted("w2", "s", 1, "t"),
            dispatched(workflow="w2", step="s", root="w1", command="sh"),
            *run_of(),
            e.TaskFinished("t", "completed", "ok", 0),
            e.StepEnded("w2", "s", "failed", "exit", SECRET, "retry"),
            e.StepEnded("w2", "s", "completed", "ok", result=SECRET, output=SECRET),
            e.WorkflowRunFinished("w2", "completed", "ok", result=SECRET),
            e.StepEnded("w1", "c#2", "completed", "ok"),
            e.StepEnded("w1", "d", "failed", "template", SECRET),
            e.WorkflowRunFinished("w1", "failed", "exit", SECRET),
        )
    )
    by_id = {span.id: span for span in found}
    names = {span.name: by_id[span.parent].name if span.parent else "" for span in found}
    assert names == {
        "invoke_workflow f": "",
        "step ask": "invoke_workflow f",
        "step c#2": "invoke_workflow f",
        "step d": "invoke_workflow f",
        "invoke_workflow g": "step c#2",
        "step s": "invoke_workflow g",
        "command a": "step s",
    }
    assert len({span.trace for span in found}) == 1
    marks = {span.name: [mark.name.removeprefix("maestro.") for mark in span.marks] for span in found}
    assert marks["step ask"] == ["approval.asked", "approval.answered"]
    assert marks["invoke_workflow f"] == ["step.skipped"]
    assert marks["step s"] == ["attempt.started", "attempt.ended"]
    assert [span.name for span in found if span.error] == ["step d", "invoke_workflow f"]


def test_nothing_of_what_prompts_and_answers_say_is_in_a_span() -> None:
    log = golden()
    texts = {text for event in log for text in _texts(event.fact) if " " in text}
    assert len(texts) > 20
    told = msgspec.json.encode(spans(log)).decode()
    assert not [text for text in texts if json.dumps(text)[1:-1] in told]
    given = happened(
        dispatched(), *run_of(outcome="agent_error"), e.TaskFinished("t", "failed", "agent_error", reason=SECRET)
    )
    assert SECRET not in repr(spans(given))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a fact."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _texts(getattr(value, name))
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def plain_log() -> list[Event]:
    """Tasks that overlap, are retried and cancelled, and a restore in between."""
    return happened(
        dispatched("t1"),
        dispatched("t2"),
        *list(run_of("t1"))[:3],
        *run_of("t2", outcome="lost", restart=True),
        e.TaskCancelRequested("t2", SECRET),
        *list(run_of("t1"))[3:],
        e.TaskFinished("t1", "completed", "ok"),
        e.TaskRetried("t1"),
        dispatched("t3"),
        *list(run_of("t3"))[:2],
        e.RestoreDone("r", 13),
        *run_of("t1", 2),
        e.TaskFinished("t1", "completed", "ok"),
        *list(run_of("t2", 2))[:2],
        e.RunSessionOpened("t2-0.2", "t2", "a", "s-1"),
        *list(run_of("t2", 2))[2:],
        e.TaskFinished("t2", "completed", "ok"),
    )


@pytest.mark.parametrize("log", [plain_log, release])
def test_reading_may_begin_anew_anywhere_and_nothing_is_left_out_or_another_one(log: Any) -> None:
    events = log()
    first, whole = events[0].seq, spans(events)
    for cut in range(len(events) + 1):
        before = Traces("n")
        sent = spans(events[:cut], before)
        position = events[cut - 1].seq if cut else first - 1
        begins = before.begins or position + 1
        again = Traces("n")
        spans([event for event in events[:cut] if event.seq >= begins], again)
        assert sent + spans(events[cut:], again) == whole, (cut, begins)


def test_what_a_restore_undid_ends_there_and_what_it_opened_again_begins_anew() -> None:
    found = spans(plain_log())
    undone = [span for span in found if span.attributes.get("maestro.outcome") == "restored"]
    assert {span.attributes["maestro.task.id"] for span in undone} == {"t1", "t3"}
    assert len({(span.trace, span.id) for span in found}) == len(found)
    restarted = next(span for span in found if span.attributes.get("maestro.restart"))
    assert restarted.error == ""


def test_what_began_before_is_counted_and_left_out() -> None:
    events = happened(dispatched(), *run_of(), e.TaskFinished("t", "completed", "ok"))
    traces = Traces("n")
    assert spans(events[1:], traces) == []
    assert (traces.incomplete, traces.open, traces.begins) == (2, 0, None)


def test_a_span_keeps_as_many_marks_as_opentelemetry_and_counts_the_others() -> None:
    turned = [e.LoopTurned("w1", "s", number, True) for number in range(MARKS_MAX + 7)]
    (run,) = spans(
        happened(e.WorkflowRunStarted("w1", "f", 1, "{}"), *turned, e.WorkflowRunFinished("w1", "completed"))
    )
    assert (len(run.marks), run.dropped) == (MARKS_MAX, 7)


def test_no_more_is_known_of_tasks_that_ended_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 3)
    traces = Traces("n")
    facts = [fact for i in range(9) for fact in (dispatched(f"t{i}"), e.TaskFinished(f"t{i}", "completed", "ok"))]
    assert len(spans(happened(*facts), traces)) == 9
    assert len(traces._known) == 3


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"type": "state.set", "data": {}},
        {"type": "run.ended", "v": 99, "data": {}},
        {"type": "run.ended", "v": 1, "data": {"run": 1}},
        {"type": "run.ended", "v": 1, "data_base64": "AA=="},
        {"type": "new.type", "v": 1, "data": {}},
    ],
)
def test_what_is_damaged_of_a_later_build_or_of_no_concern_is_passed_over(row: dict[str, Any]) -> None:
    assert event_of(row) is None


def test_each_type_that_spans_are_made_of_makes_a_difference() -> None:
    assert not TYPES - set(FACTS)
    logs = [(log, spans(log)) for log in (golden(), plain_log())]
    for kind in TYPES - {"restore.done", "workflow_run.admitted"}:
        assert any(spans(one for one in log if NAMES[type(one.fact)] != kind) != whole for log, whole in logs), kind


def test_the_conventions_are_of_one_version_that_they_name() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
    from opentelemetry.semconv.schemas import Schemas

    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}
    known = {value for name, value in vars(gen_ai).items() if name.startswith("GEN_AI_")}
    ours = {value for value in vars(conventions).values() if isinstance(value, str) and value.startswith("gen_ai.")}
    assert ours and ours <= known
    assert run_span("n", "r", 1) != run_span("n", "r", 2)
