"""The end of a run as it is judged, and the verdict on it."""

from __future__ import annotations

import msgspec

from maestro.agents.transcript import TranscriptSum


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the command of `verify`. command: as its arguments; output: the end of what it printed."""

    command: tuple[str, ...]
    exit_code: int | None = None
    timed_out: bool = False
    stopped: str | None = None
    lost: str | None = None
    spawn_error: str | None = None
    output: bytes = b""


class JudgedEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run as it is judged: what its warden told of it (`supervision.spec.End`), and its output.

    exit_code: None where a signal ended it or nothing ran.

    stopped: the reason of a stop that was asked for; lost: why nobody saw the end (worker or node gone). wrong_mode:
    why it was not started at all; oom: which limit of memory ended it; stalled: it was silent for too long; budget:
    what it used up; check: what verified it. stdout: the last bytes of it; told: its transcript, where stdout is read
    as events; stderr: both ends of it, None where it was not kept apart; log: the last bytes of agent.log;
    output_bytes: of all output. misfit: why its final text does not fit the schema that is asked for.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stopped: str | None = None
    spawn_error: str | None = None
    errno: int | None = None
    lost: str | None = None
    timeout_s: float | None = None
    wrong_mode: str | None = None
    oom: str | None = None
    stalled: bool = False
    budget: str | None = None
    check: Check | None = None
    misfit: str = ""
    told: TranscriptSum | None = None
    stderr: bytes | None = None
    stdout: bytes = b""
    log: bytes = b""
    output_bytes: int = 0
    stdout_bytes: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a run, with its reasons. source: `agent` where the agent's own doing decided, else `maestro`.

    outcome: one of `maestro.model.outcome.SEVERITY`. result: the final text. transient: the start failed for want of
    processes, files or memory, so that it may be tried again without spending the attempt. loss: of what is `lost`,
    why.
    """

    outcome: str
    exit_code: int | None = None
    signal: int | None = None
    source: str = "agent"
    evidence: str = ""
    result: str = ""
    transient: bool = False
    loss: str = ""
