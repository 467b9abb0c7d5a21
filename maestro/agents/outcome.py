"""How a run ended: the facts of its process, judged by rules in one order, the first that holds wins.

Exit 0 is not success by itself, and a timeout is Maestro's own clock, never the child's word. Every verdict says in
`evidence` which rule it was, and on what.
"""

from __future__ import annotations

import errno
import re
import signal as signals

import msgspec

from maestro.agents.printable import plain, shown
from maestro.agents.schema import Definition

RESULT_BYTES_MAX = 64 * 1024
_LINE_LENGTH_MAX = 4096
_TRANSIENT = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETXTBSY})
_CUT = "[… the beginning is in agent.log]\n"


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What the warden saw. exit_code: None where a signal ended it or nothing ran.

    stopped: the reason of a stop that was asked for; lost: why nobody saw the end (worker or node gone).
    stdout: the last bytes of it; output_bytes: of all output; log: the last bytes of agent.log, where stderr is too.
    """

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stopped: str | None = None
    spawn_error: str | None = None
    errno: int | None = None
    lost: str | None = None
    timeout_s: float | None = None
    stdout: bytes = b""
    log: bytes = b""
    output_bytes: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A run's outcome (SPEC.md 2). source: `agent` where its own doing decided, else `maestro`.

    result: the final text. transient: the start failed for want of processes, files or memory, so that it may be
    tried again without spending the attempt.
    """

    outcome: str
    exit_code: int | None = None
    signal: int | None = None
    source: str = "agent"
    evidence: str = ""
    result: str = ""
    transient: bool = False


def judge(definition: Definition, end: End) -> Verdict:
    """The verdict on an end. Pure; the same end is always judged the same."""
    return _by_maestro(end) or _by_exit(definition, end) or _by_output(definition, end) or _good(end)


def final_text(stdout: bytes) -> str:
    """The last `RESULT_BYTES_MAX` of a text output as shown to people: no control sequences, no ragged ends."""
    cut = len(stdout) > RESULT_BYTES_MAX
    text = plain(stdout[-RESULT_BYTES_MAX:].decode("utf-8", "replace")).strip()
    return _CUT + text.lstrip("\ufffd") if cut and text else text


def _by_maestro(end: End) -> Verdict | None:
    """What Maestro did to the run, or failed to do."""
    outcome, evidence = "", ""
    if end.lost is not None:
        outcome, evidence = "lost", f"lost: {shown(end.lost)}"
    elif end.spawn_error is not None:
        outcome, evidence = "spawn_error", f"the process did not start: {shown(end.spawn_error, 400)}"
    elif end.timed_out:
        limit = "" if end.timeout_s is None else f" of {end.timeout_s:g} s"
        outcome, evidence = "timeout", f"the timeout{limit} passed; {_exit_text(end)}"
    elif end.stopped is not None:
        outcome, evidence = "cancelled", f"stopped: {shown(end.stopped, 400)}; {_exit_text(end)}"
    if not outcome:
        return None
    return Verdict(
        outcome=outcome,
        exit_code=end.exit_code,
        signal=end.signal,
        source="maestro",
        evidence=evidence,
        result=final_text(end.stdout),
        transient=outcome == "spawn_error" and end.errno in _TRANSIENT,
    )


def _by_exit(definition: Definition, end: End) -> Verdict | None:
    if end.exit_code is not None and end.exit_code in definition.success.exit:
        return None
    last = _last_line(end.log or end.stdout)
    evidence = _exit_text(end) + (f"; last line: {shown(last, 200)}" if last else "")
    return _of_agent(end, "exit", evidence)


def _by_output(definition: Definition, end: End) -> Verdict | None:
    """A good exit code whose output says otherwise."""
    rules = definition.success
    stdout = _lines(end.stdout)
    if rules.fail_stdout and (line := _match(rules.fail_stdout, stdout)) is not None:
        return _of_agent(end, "agent_error", f"fail_stdout {shown(rules.fail_stdout)} matched: {shown(line, 200)}")
    if rules.fail_stderr:
        said = set(stdout)
        others = [line for line in _lines(end.log) if line not in said and not line.startswith("TRACE: ")]
        if (line := _match(rules.fail_stderr, others)) is not None:
            return _of_agent(end, "agent_error", f"fail_stderr {shown(rules.fail_stderr)} matched: {shown(line, 200)}")
    if rules.output_required and not final_text(end.stdout):
        return _of_agent(end, "no_output", f"output_required: exit {end.exit_code} without a word on stdout")
    return None


def _good(end: End) -> Verdict:
    return _of_agent(end, "ok", f"exit {end.exit_code}")


def _of_agent(end: End, outcome: str, evidence: str) -> Verdict:
    return Verdict(
        outcome=outcome,
        exit_code=end.exit_code,
        signal=end.signal,
        evidence=evidence,
        result=final_text(end.stdout),
    )


def _exit_text(end: End) -> str:
    if end.exit_code is not None:
        return f"exit {end.exit_code}"
    if end.signal is None:
        return "no exit code"
    try:
        return f"ended by {signals.Signals(end.signal).name}"
    except ValueError:
        return f"ended by signal {end.signal}"


def _lines(text: bytes) -> list[str]:
    lines = plain(text.decode("utf-8", "replace")).split("\n")
    return [line[:_LINE_LENGTH_MAX] for line in lines]


def _match(pattern: str, lines: list[str]) -> str | None:
    compiled = re.compile(pattern)
    return next((line for line in lines if compiled.search(line)), None)


def _last_line(text: bytes) -> str:
    return next((line.strip() for line in reversed(_lines(text[-8192:])) if line.strip()), "")
