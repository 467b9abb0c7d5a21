"""From the end that a warden saw to `run.ended`: judged by the agent's rules, its final text kept."""

from __future__ import annotations

import random
from pathlib import Path

from maestro.agents import outcome
from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.events import RunEnded
from maestro.model.task import Run
from maestro.runtime.context import RESULT_INLINE_BYTES_MAX, Context
from maestro.runtime.spec import End
from maestro.workspaces.folders import RunFolder

LOG_END_BYTES = 64 * 1024
TAIL_BYTES_MAX = 512 * 1024
BACKOFF_MS = 1000
BACKOFF_MS_MAX = 300_000
LOST_BACKOFF_MS = 100


def facts(end: End, folder: RunFolder, timeout_s: float, lost: str | None = None) -> outcome.End:
    """What the judge needs, out of the warden's record and the run's files."""
    if lost is None and (end.lost or end.worker_gone):
        lost = "its worker was gone" if end.worker_gone else "its warden was killed"
    return outcome.End(
        exit_code=end.exit_code,
        signal=end.signal,
        timed_out=end.timed_out,
        stopped=end.stopped,
        spawn_error=end.spawn_error,
        errno=end.errno,
        lost=lost,
        timeout_s=timeout_s,
        stdout=_last_bytes(Path(folder.tail), TAIL_BYTES_MAX) if end.output_bytes else b"",
        log=_last_bytes(Path(folder.log), LOG_END_BYTES) if end.output_bytes else b"",
        output_bytes=end.output_bytes,
    )


async def ended(context: Context, run: Run, agent: Agent, seen: outcome.End, end: End) -> RunEnded:
    """The event. Backoff with jitter says when the next attempt may start."""
    verdict = outcome.judge(Definition.from_dict(agent.definition), seen)
    evidence = verdict.evidence
    if end.leftovers:
        evidence += f"; {end.leftovers} processes that it left behind were killed"
    if end.truncated:
        evidence += "; its log was cut at the cap"
    kind = "lost" if verdict.transient or (end.retriable and end.spawn_error) else verdict.outcome
    return RunEnded(
        run=run.id,
        task=run.id.rpartition("-")[0],
        agent=agent.id,
        outcome=kind,
        exit_code=verdict.exit_code,
        signal=verdict.signal,
        source=verdict.source,
        evidence=evidence,
        result=await context.keep(verdict.result, RESULT_INLINE_BYTES_MAX),
        duration_ms=end.duration_ms,
        output_bytes=end.output_bytes,
        retry_at=None if kind == "ok" else await context.now() + backoff_ms(kind, run.attempt),
    )


def backoff_ms(kind: str, attempt: int) -> int:
    """How long to wait before the next attempt: doubled each time, half of it by chance."""
    base = LOST_BACKOFF_MS if kind == "lost" else BACKOFF_MS
    whole = min(BACKOFF_MS_MAX, base * 2 ** min(attempt - 1, 20))
    return int(whole * (0.5 + random.random() / 2))


def _last_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - count))
            return file.read(count)
    except OSError:
        return b""
