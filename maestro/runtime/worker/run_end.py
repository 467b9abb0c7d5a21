"""The end of a run: from what its warden saw to the event `run.ended`, by the verdict of its agent's rules."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from maestro.agents import secrets
from maestro.agents.definitions import Definition
from maestro.agents.transcript import TranscriptSum
from maestro.agents.verdict import Check, JudgedEnd, Verdict
from maestro.model.errors import MaestroError
from maestro.model.events import FailsafeKept, FailsafeReturned, RunEnded
from maestro.model.ids import slot_of_run, task_of_run
from maestro.model.monitoring.failsafe import told
from maestro.model.task import Run, Task, may_go_on
from maestro.runtime.node.context import RESULT_INLINE_BYTES_MAX, Context
from maestro.runtime.node.subject_events import events_behind
from maestro.runtime.supervision import capped_log
from maestro.runtime.supervision.exit_record import RECORD_NAME
from maestro.runtime.supervision.spec import LOG_BYTES_MAX, End
from maestro.runtime.worker.run_observer import read_ends
from maestro.workspaces.folders import RunFolder

LOG_END_BYTES = 64 * 1024
BACKOFF_MS = 1000
BACKOFF_MS_MAX = 300_000
LOST_BACKOFF_MS = 100
REDACTED = "[redacted]"
SECRET_CHARS_MIN = 6
"""Shorter secrets are taken out of the output only: they would be found by chance in any evidence."""

DAEMON_STOPPED = "the daemon stopped"
"""The reason with which a daemon that ends in order stops its runs. The next daemon finds it in their exit records."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker knows of the end of a run besides the warden's `End`.

    lost: why the infrastructure lost the run; wrong_mode: why it was not started; budget: what it used up, in words;
    told: its transcript; unhealthy: what was wrong with its agent, so that failsafe mode stopped it. None where there
    is no such thing.
    """

    lost: str | None = None
    wrong_mode: str | None = None
    budget: str | None = None
    told: TranscriptSum | None = None
    unhealthy: str | None = None


def facts(end: End, folder: RunFolder, timeout_s: float, seen: Seen) -> JudgedEnd:
    """The end of a run as its judge sees it, out of the warden's `End`, the run's files and what the worker knows."""
    if end.lost:  # its warden did not close the log
        capped_log.settle(folder.log)
    oom = None
    if end.oom:
        oom = f"{max(1, end.oom_kills)} of its processes killed at the run's limit of memory"
    return JudgedEnd(
        exit_code=end.exit_code,
        signal=end.signal,
        timed_out=end.timed_out,
        stopped=end.stopped,
        spawn_error=end.spawn_error,
        errno=end.errno,
        lost=seen.lost or _loss(end),
        timeout_s=timeout_s,
        wrong_mode=seen.wrong_mode,
        oom=oom,
        stalled=end.stalled,
        budget=seen.budget,
        told=seen.told,
        stderr=read_ends(folder.errors) if end.output_bytes else b"",
        stdout=read_ends(folder.tail) if end.output_bytes else b"",
        log=read_ends(folder.log, LOG_END_BYTES) if end.output_bytes else b"",
        output_bytes=end.output_bytes,
        stdout_bytes=end.stdout_bytes,
    )


def dead_at(folder: RunFolder) -> int:
    """When the last process of a run was dead, by its wardens' records, Unix ns; 0 where there is none."""
    found = 0
    for record in (folder.record, f"{folder.verification}/{RECORD_NAME}"):
        with suppress(OSError):
            found = max(found, Path(record).stat().st_mtime_ns)
    return found


def of_unhealthy(verdict: Verdict, seen: Seen) -> Verdict:
    """The verdict on a run that failsafe mode may have stopped because its agent was unhealthy."""
    if seen.unhealthy is None or verdict.outcome != "cancelled":
        return verdict
    evidence = f"its agent was unhealthy: {seen.unhealthy}; {verdict.evidence}"
    return msgspec.structs.replace(verdict, outcome="agent_error", evidence=evidence)


def may_be_signalled(end: End) -> bool:
    """Whether a signal to all of a service may have ended the run: it ended badly, and by no rule of this daemon."""
    by_rule = end.stopped is not None or end.timed_out or end.stalled or end.oom or end.spawn_error is not None
    return not by_rule and not end.lost and (end.signal is not None or bool(end.exit_code))


def check_of(end: End, command: list[str], folder: RunFolder, lost: str | None = None) -> Check:
    """How the verification of a run ended, as the judge sees it. command: what was run; lost: why it was lost."""
    output = read_ends(f"{folder.verification}/tail") + read_ends(f"{folder.verification}/errors")
    return Check(
        command=tuple(command),
        exit_code=end.exit_code,
        timed_out=end.timed_out,
        stopped=end.stopped,
        lost=lost or _loss(end),
        spawn_error=end.spawn_error,
        output=output,
    )


def _loss(end: End) -> str | None:
    if end.worker_gone:
        return "its worker was gone"
    return "its warden was killed" if end.lost else None


def redaction(context: Context, definition: Definition) -> Callable[[str], str]:
    """What takes the secrets of a run out of a text: events may tell one in pieces, or written so that the stream of
    bytes did not show it.
    """
    try:
        values = secrets.resolve(definition, context.environment).values()
    except MaestroError:
        values = dict[str, str]().values()
    found: set[str] = set()
    for value in values:
        if len(value) >= SECRET_CHARS_MIN:
            found |= {value, json.dumps(value, ensure_ascii=False)[1:-1]}
    found |= {repr(form)[1:-1] for form in found}  # as a line of evidence shows what is not plainly printable
    forms = sorted(found, key=len, reverse=True)

    def redact(text: str) -> str:
        for form in forms:
            text = text.replace(form, REDACTED)
        return text

    return redact


def redacted(context: Context, definition: Definition, verdict: Verdict) -> Verdict:
    """The verdict without the secrets of its run. Blocks."""
    redact = redaction(context, definition)
    return msgspec.structs.replace(verdict, result=redact(verdict.result), evidence=redact(verdict.evidence))


async def ended(context: Context, task: Task, run: Run, verdict: Verdict, end: End) -> RunEnded:
    """The event `run.ended`, with the time at which the next attempt may start, where there may be one."""
    evidence = verdict.evidence
    restart = verdict.loss == DAEMON_STOPPED
    if restart:
        evidence = evidence.replace("lost", "lost (restart)", 1)
    if end.leftovers:
        left = (
            "1 process that it left behind was"
            if end.leftovers == 1
            else f"{end.leftovers} processes that it left behind were"
        )
        evidence += f"; {left} killed"
    if end.oom_kills and verdict.outcome != "oom":
        evidence += f"; {end.oom_kills} of its processes were killed at its limit of memory"
    if end.forks_refused:
        evidence += f"; it was refused {end.forks_refused} processes at its limit of them"
    if end.left_out:
        evidence += (
            f"; {end.left_out} bytes of the middle of its log were left out, above the cap of {LOG_BYTES_MAX >> 20} MiB"
        )
    if end.log_error:
        evidence += f"; the rest of its log could not be written: {end.log_error}"
    if end.cwd_gone:
        evidence += f"; the folder that it worked in, {run.workspace}, was removed or replaced while it ran"
    kind = "lost" if verdict.transient or (end.retriable and end.spawn_error) else verdict.outcome
    return RunEnded(
        run=run.id,
        task=task_of_run(run.id),
        agent=run.agent,
        outcome=kind,
        exit_code=verdict.exit_code,
        signal=verdict.signal,
        source=verdict.source,
        evidence=evidence,
        result=await context.keep(verdict.result, RESULT_INLINE_BYTES_MAX),
        duration_ms=end.duration_ms,
        output_bytes=end.output_bytes,
        retry_at=None if restart else await _retry_at(context, task, run, kind),
        restart=restart,
    )


async def with_return(context: Context, fact: RunEnded, owner: str, token: int) -> RunEnded:
    """The end of a run whose evidence says what failsafe mode has done with its workspace; unchanged for nothing.

    owner: the agent whose workspace that is; token: the position of the release of the run.
    """
    find = partial(context.call, events_behind, context.store, f"agent:{owner}", token)
    facts = [event.fact for event in await context.insist(find) or ()]
    done = [one for one in facts if isinstance(one, FailsafeReturned | FailsafeKept) and one.run == fact.run]
    return msgspec.structs.replace(fact, evidence=f"{fact.evidence}; {told(done[-1])}") if done else fact


async def _retry_at(context: Context, task: Task, run: Run, kind: str) -> int | None:
    if not may_go_on(task, run.id, kind):
        return None
    counted = len(task.slots[slot_of_run(run.id)].counted)
    return await context.now() + backoff_ms(kind, counted)


def backoff_ms(kind: str, attempt: int) -> int:
    """How many ms to wait after an attempt before the next: doubled each time, half of it random. attempt: from 1."""
    base = LOST_BACKOFF_MS if kind == "lost" else BACKOFF_MS
    whole = min(BACKOFF_MS_MAX, base * 2 ** min(attempt - 1, 20))
    return int(whole * (0.5 + random.random() / 2))
