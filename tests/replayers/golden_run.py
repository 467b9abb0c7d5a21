"""A run of a workflow with every key that a definition may have, as the leader tells it: for the golden log.

The facts are written down, not decided: what a log holds stays what it is when decisions change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.ids import run_id
from maestro.model.workflow.definition import Workflow

CHILD: dict[str, Any] = {
    "vars": {"branch": "main"},
    "result": "{{ steps.push.result }}",
    "steps": [{"id": "push", "run": "./push {{ vars.branch }}"}],
}
DEFINITION: dict[str, Any] = {
    "name": "Release",
    "version": "1.0",
    "description": "Has every key that a definition may have.",
    "vars": {"branch": "main", "environment": "production"},
    "env": {"CI": "true"},
    "timeout": 7200,
    "budget": {"cost": 20, "tokens": 4_000_000, "on_exceeded": "stop"},
    "concurrency": {"group": "deploy-{{ vars.environment }}", "when_busy": "replace"},
    "schedules": [{"cron": "0 2 * * *", "tz": "Europe/Berlin", "missed": "skip", "params": {"branch": "main"}}],
    "on_failure": "notify",
    "finally": "tidy",
    "result": "{{ steps.ship.result }}",
    "steps": [
        {"id": "files", "run": "ls -1 *.py", "shell": "bash", "in": "builder", "on_success": "lint"},
        {
            "id": "lint",
            "description": "The first item that fails ends the others.",
            "for_each": ["a.py", "b.py", "c.py"],
            "max_parallel": 1,
            "fail_fast": True,
            "run": "lint {{ item }}",
            "on_failure": "continue",
            "priority": 2,
        },
        {
            "id": "review",
            "needs": ["files"],
            "for_each": "{{ steps.files.json }}",
            "agent": "role:reviewer",
            "prompt": "Review {{ item }}",
            "timeout": 600,
            "env": {"FILE": "{{ item }}"},
        },
        {
            "id": "fix",
            "needs": ["review", "lint"],
            "agent": ["codex", "claude"],
            "prompt": "Fix what these say: {{ steps.review.items }}",
            "verify": "make test",
            "retries": {
                "max": 3,
                "backoff": 20,
                "max_delay": 200,
                "workspace": "restore",
                "continue": True,
                "prompt": "This failed: {{ previous.verify }}",
            },
            "snapshot": True,
        },
        {
            "id": "judge",
            "needs": "fix",
            "agent": "reviewer",
            "prompt": "Is it done? Answer as JSON.",
            "schema": {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}},
            "again": {"from": "fix", "until": "steps.judge.json.approved", "max": 5},
            "retries": 1,
        },
        {
            "id": "gate",
            "needs": ["judge"],
            "approval": {"prompt": "Ship {{ vars.branch }}?", "timeout": 86_400, "on_timeout": "approve"},
        },
        {"id": "late", "needs": ["gate"], "approval": True, "agent": "builder", "prompt": "Write the news"},
        {
            "id": "ship",
            "needs": ["gate"],
            "when": "vars.environment == 'production'",
            "workflow": "push",
            "with": {"branch": "{{ vars.branch }}"},
            "outputs": {"deploy_url": "url"},
        },
        {"id": "demo", "needs": ["gate"], "when": "vars.environment == 'demo'", "run": "true"},
        {
            "id": "pack",
            "needs": ["ship", "demo", "fix"],
            "run": "tar czf all.tgz dist",
            "files": {"from": "fix", "paths": ["dist/**"]},
            "on_failure": "undo",
        },
        {"id": "undo", "run": "./undo"},
        {"id": "notify", "run": "./notify"},
        {"id": "tidy", "run": "./tidy"},
    ],
}

RUN, ANEW, BELOW = "R1", "R2", "C1"
"""The run, the one that takes it up again, and the child of the first."""
LARGE = e.BlobRef("fa" * 32, 90_000)
FILES = {"dist/app": e.BlobRef("fb" * 32, 4_096, executable=True)}


def canonical(definition: dict[str, Any]) -> str:
    """A definition as a run carries it."""
    return msgspec.json.encode(msgspec.convert(definition, Workflow)).decode()


def told() -> Iterator[NewEvent]:
    """All events of the runs and of the tasks of their steps, in order."""
    yield NewEvent(
        "workflow:release", e.WorkflowStored("release", 3, canonical(DEFINITION), LARGE, "ab" * 32, "Release")
    )
    yield _of(_started())
    yield _of(e.WorkflowRunAdmitted(RUN))
    yield from _first_steps()
    yield from _loop()
    yield from _answers_and_child()
    yield from _endings()
    yield _of(_taken_up())
    yield from map(_of, _what_goes_wrong())


def _started() -> e.WorkflowRunStarted:
    return e.WorkflowRunStarted(
        RUN,
        "release",
        3,
        canonical(DEFINITION),
        params={"branch": "main", "environment": "production"},
        children=msgspec.json.encode({"push": {"version": 1, "definition": CHILD}}).decode(),
        group="deploy-production",
        when_busy="replace",
        priority=2,
        trace=True,
        overrides={"codex": "claude"},
        node="north",
        folder=f"/w/.workflows/{RUN}",
        key="nightly",
    )


def _taken_up() -> e.WorkflowRunStarted:
    back = e.WorkspaceRestoreWanted(RUN, "judge#2", "north", "/w/reviewer", "s1", "reviewer", force=True)
    return e.WorkflowRunStarted(
        ANEW,
        "release",
        4,
        LARGE,
        resumed_from=RUN,
        reused={"fix": e.StepEnded(RUN, "fix", "completed", "ok", result=LARGE, files=FILES)},
        rounds={"fix": 2, "judge": 2},
        turns={"judge": 2},
        turned=("judge",),
        items={"review": ["a.py", "b.py"]},
        archives={"judge#2": back},
        restores=True,
        force=True,
    )


def _what_goes_wrong() -> Iterator[e.AnyFact]:
    """What the run that ended well enough had no occasion for."""
    yield e.WorkspaceArchiveWanted(ANEW, "judge#2", "north", "/w/reviewer", "reviewer", point=True)
    yield e.WorkspaceArchived(ANEW, "judge#2", error="the disk is full")
    yield e.WorkspaceReturned(ANEW, "judge#2", error="there is no such snapshot")
    yield e.LoopTurned(ANEW, "judge", 2, again=False, outcome="template", why="`steps.judge.json` is no JSON")
    yield e.WorkflowRunPaused(ANEW, "budget")
    yield e.WorkflowRunEnding(ANEW, "cancelled", "asked", stops=True)
    yield e.WorkflowRunFinished(ANEW, "cancelled", "restored", "restored")


def _first_steps() -> Iterator[NewEvent]:
    yield _of(e.StepReadied(RUN, "files", 1))
    yield from _attempt("files", "builder", _ok("files", result='["a.py","b.py"]', exit_code=0))
    yield _of(e.StepReadied(RUN, "lint", 1, items=["a.py", "b.py", "c.py"]))
    yield _of(e.StepReadied(RUN, "review", 1, items=["a.py", "b.py"]))
    yield from _attempt("lint[0]", ".run", e.StepEnded(RUN, "lint[0]", "failed", "exit", "exit 1", exit_code=1))
    for item in (1, 2):
        yield _of(e.StepEnded(RUN, f"lint[{item}]", "skipped", "", "another item failed (fail_fast)"))
    for item in (0, 1):
        yield from _attempt(
            f"review[{item}]", "role:reviewer", _ok(f"review[{item}]", result="no issues", session="s-1")
        )


def _loop() -> Iterator[NewEvent]:
    yield _of(e.StepReadied(RUN, "fix", 1))
    yield from _archived("fix", "codex")
    failed = e.StepEnded(RUN, "fix", "failed", "spawn_error", "codex is not installed", next="agent")
    yield from _attempt("fix", "codex", failed)
    yield from _archived("fix", "claude")
    failed = e.StepEnded(RUN, "fix", "failed", "verify", next="retry", check=LARGE, session="s-2", output="long")
    yield from _attempt("fix", "claude", msgspec.structs.replace(failed, due=1_780_000_020_000), 2)
    yield _of(e.WorkspaceRestoreWanted(RUN, "fix", "north", "/w/claude", "s1", "claude", target="claude"))
    yield _of(e.WorkspaceReturned(RUN, "fix", "s1", changed=3))
    done = _ok("fix", result=LARGE, session="s-2", files=FILES, input_tokens=80, output_tokens=20, cost=0.25)
    yield from _attempt("fix", "claude", done, 3)
    yield _of(e.StepReadied(RUN, "judge", 1))
    bad = e.StepEnded(RUN, "judge", "failed", "schema", next="retry", due=1_780_000_030_000, error="is no JSON")
    yield from _attempt("judge", "reviewer", bad)
    yield from _attempt("judge", "reviewer", _ok("judge", result='{"approved": false}'), 2)
    yield _of(e.LoopTurned(RUN, "judge", 1, again=True))
    yield _of(e.StepReadied(RUN, "fix", 2))
    yield from _archived("fix#2", "claude")
    yield from _attempt("fix#2", "claude", _ok("fix#2", result="done", files=FILES))
    yield _of(e.StepReadied(RUN, "judge", 2))
    yield from _attempt("judge#2", "reviewer", _ok("judge#2", result='{"approved": true}'))
    yield _of(e.LoopTurned(RUN, "judge", 2, again=False, outcome="ok"))


def _answers_and_child() -> Iterator[NewEvent]:
    yield _of(e.StepReadied(RUN, "gate", 1, approval="Ship main?", until=1_780_086_400_000))
    yield _of(e.WorkflowRunPaused(RUN))
    yield _of(e.WorkflowRunResumed(RUN, 1000, 0.5))
    yield _of(e.StepApproved(RUN, "gate", approved=True, reason="nobody answered in time", timed_out=True))
    yield _of(e.StepReadied(RUN, "late", 1, approval=""))
    yield _of(e.StepReadied(RUN, "ship", 1))
    yield _of(e.StepStarted(RUN, "ship", 1, child=BELOW))
    child = e.WorkflowRunStarted(BELOW, "push", 1, canonical(CHILD), {"branch": "main"}, parent=RUN, instance="ship")
    at = {"root": RUN, "node": "north", "folder": "/w/.workflows/C1"}
    yield _of(msgspec.structs.replace(child, timeout_s=600.0, brings=FILES, **at))
    yield _of(e.StepReadied(BELOW, "push", 1))
    yield from _attempt("push", ".run", msgspec.structs.replace(_ok("push", result='{"url": "x"}'), run=BELOW))
    yield _of(e.WorkflowRunFinished(BELOW, "completed", "ok", result=LARGE))
    yield _of(_ok("ship", result=LARGE))
    yield NewEvent("state:deploy_url", e.StateSet("deploy_url", "x"))
    yield _of(e.StepReadied(RUN, "demo", 1, "skip", "when: vars.environment == 'demo'"))


def _endings() -> Iterator[NewEvent]:
    yield _of(e.StepReadied(RUN, "pack", 1))
    yield from _attempt("pack", ".run", e.StepEnded(RUN, "pack", "timed_out", "timeout", "60 s passed"))
    yield _of(e.WorkflowRunEnding(RUN, "failed", "step pack failed", "pack"))
    for step in ("undo", "notify", "tidy"):
        yield _of(e.HandlerCalled(RUN, step))
        yield _of(e.StepReadied(RUN, step, 1))
        yield from _attempt(step, ".run", _ok(step))
    yield _of(e.WorkflowRunFinished(RUN, "failed", why="step pack failed"))


def _of(fact: Any) -> NewEvent:
    return NewEvent(f"workflow-run:{fact.run}", fact)


def _ok(instance: str, **more: Any) -> e.StepEnded:
    return e.StepEnded(RUN, instance, "completed", "ok", tokens=100, **more)


def _archived(instance: str, agent: str) -> Iterator[NewEvent]:
    why = f"before step {instance} of run {RUN}"
    yield _of(e.WorkspaceArchiveWanted(RUN, instance, "north", f"/w/{agent}", agent, why, target=agent))
    yield _of(e.WorkspaceArchived(RUN, instance, "s1", size=70))


def _attempt(instance: str, target: str, end: e.StepEnded, attempt: int = 1) -> Iterator[NewEvent]:
    """An attempt and its task, which one run carries out."""
    task = f"{end.run}-{instance}-{attempt}"
    agent = "reviewer" if target.startswith("role:") else target
    prompt = f"do {instance}"
    yield _of(e.StepStarted(end.run, instance, attempt, task, agent=target, told=prompt, read={"vars.branch": "main"}))
    dispatched = e.TaskDispatched(
        task,
        prompt,
        prompt,
        (target,),
        verify="make test" if instance == "fix" else "",
        workflow=end.run,
        step=instance,
        command="sh" if target == ".run" else "",
        place="run" if target == ".run" else "",
        node="north",
        folder=f"/w/.workflows/{end.run}",
        alone=instance.startswith("fix"),
        env={"CI": "true"},
        answer_schema={"type": "object"} if instance.startswith("judge") else None,
        session="s-2" if attempt == 3 else "",
        leaves=("dist/**",) if instance.startswith("fix") else (),
        brings=FILES if instance == "pack" else {},
    )
    yield NewEvent(f"task:{task}", dispatched)
    run = run_id(task, 0, 1)
    yield NewEvent(f"run:{run}", e.RunReleased(run, task, 0, 1, agent, "north", 60.0, 1, reason="ready"))
    place = f"/w/.workflows/{end.run}/workspace" if target == ".run" else f"/w/{agent}"
    yield NewEvent(f"run:{run}", e.RunStarted(run, task, agent, "north", f"/r/{run}", place))
    ended = e.RunEnded(run, task, agent, end.outcome, end.exit_code, result=end.result, duration_ms=5)
    more = {"output": end.output, "check": end.check, "error": end.error, "files": end.files}
    yield NewEvent(f"run:{run}", msgspec.structs.replace(ended, **more))
    yield NewEvent(f"task:{task}", e.TaskFinished(task, end.status, end.outcome, end.exit_code))
    yield _of(msgspec.structs.replace(end, agent=agent))
