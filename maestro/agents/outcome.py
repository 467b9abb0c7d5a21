"""The outcome of a run: the facts of its end, judged by rules in one order, of which the first that holds wins.

Exit 0 is not success by itself, and a timeout is Maestro's own clock, never the child's word. Every verdict says in
`evidence` which rule it was, and on what.
"""

from __future__ import annotations

import errno
import signal as signals

import msgspec

from maestro.agents.line_patterns import (
    FIRST_CHARACTERS,
    LINE_LENGTH_MAX,
    cut_lines,
    first_match,
    last_match,
    whole_lines,
)
from maestro.agents.schema import Definition
from maestro.agents.transcript import TranscriptSum
from maestro.agents.verdict import Check, JudgedEnd, Verdict
from maestro.printable_text import plain, shown

RESULT_BYTES_MAX = 64 * 1024
TOLD = 2000
"""How much of a line that matched is told."""

_TRANSIENT = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETXTBSY})
_CUT = "[… the beginning is in agent.log]\n"


def judge(definition: Definition, end: JudgedEnd) -> Verdict:
    """The verdict on the end of a run. Pure: the same end is always judged the same."""
    rules = (_by_maestro, _by_refusal, _by_exit, _by_events, _by_patterns, _by_silence, _by_schema, _by_check)
    for rule in rules:
        verdict = rule(definition, end)
        if verdict is not None:
            break
    else:
        verified = "" if end.check is None else f"; verify {_command(end.check)} passed"
        verdict = _verdict(definition, end, "ok", f"exit {end.exit_code}{verified}")
    if verdict.source == "agent" and (unread := _unread(definition, end)):
        verdict = msgspec.structs.replace(verdict, evidence=f"{verdict.evidence}; {unread}")
    return verdict


def final_text(stdout: bytes) -> str:
    """The last `RESULT_BYTES_MAX` of a text output as shown to people: no control sequences, no cut characters."""
    cut = len(stdout) > RESULT_BYTES_MAX
    text = plain(stdout[-RESULT_BYTES_MAX:].decode("utf-8", "replace")).strip()
    return _CUT + text.lstrip("\ufffd") if cut and text else text


def _by_maestro(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run that Maestro ended, or could not start or watch."""
    outcome, evidence = "", ""
    if end.lost is not None:
        outcome, evidence = "lost", f"lost: {shown(end.lost)}"
    elif end.wrong_mode is not None:
        outcome, evidence = "wrong_mode", f"not started: {shown(end.wrong_mode, 400)}"
    elif end.spawn_error is not None:
        outcome, evidence = "spawn_error", f"the process did not start: {shown(end.spawn_error, 400)}"
    elif end.oom is not None:
        outcome, evidence = "oom", f"out of memory: {shown(end.oom)}; {_exit_text(end)}"
    elif end.budget is not None:
        outcome, evidence = "budget", f"{shown(end.budget, 200)}; {_exit_text(end)}"
    elif end.timed_out:
        limit = "" if end.timeout_s is None else f" of {end.timeout_s:g} s"
        outcome, evidence = "timeout", f"the timeout{limit} passed; {_exit_text(end)}"
    elif end.stalled:
        silent_s = definition.limits.silent_s
        for_so_long = "" if silent_s is None else f" for {silent_s:g} s"
        outcome, evidence = "stalled", f"nothing was printed{for_so_long} (limits.silent_s); {_exit_text(end)}"
    elif end.stopped is not None:
        outcome, evidence = "cancelled", f"stopped: {shown(end.stopped, 400)}; {_exit_text(end)}"
    if not outcome:
        return None
    verdict = _of_maestro(definition, end, outcome, evidence)
    transient = outcome == "spawn_error" and end.errno in _TRANSIENT
    return msgspec.structs.replace(verdict, transient=transient, loss=end.lost or "")


def _by_refusal(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run whose agent denied the work, whatever its exit code says."""
    rule = definition.success.refused_text
    if end.told is not None and end.told.refusal:
        last = _last_event(end.told, end.told.refusal)
        return _verdict(definition, end, "refused", f"refused_event: {end.told.refusal}{last}")
    if rule and (found := first_match(rule, _result(definition, end).split("\n"))) is not None:
        return _verdict(
            definition, end, "refused", f"refused_text {shown(found.pattern)} matched: {shown(found.text, TOLD)}"
        )
    return None


def _by_exit(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run with a bad exit code."""
    if end.exit_code is not None and end.exit_code in definition.success.exit:
        return None
    evidence = _exit_text(end)
    if end.told is not None and end.told.failure:
        last = _last_event(end.told, end.told.failure)
        return _verdict(definition, end, "exit", f"{evidence}; fail_event: {end.told.failure}{last}")
    return _verdict(definition, end, "exit", evidence + _last_words(_printed(end)))


def _by_events(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run with a good exit code whose events tell of a failure, or do not tell of success."""
    if definition.output.format == "text":
        return None
    told = end.told or TranscriptSum()
    if told.failure:
        evidence = f"exit {end.exit_code}, but fail_event: {told.failure}{_last_event(told, told.failure)}"
        return _verdict(definition, end, "agent_error", evidence)
    if not told.events:
        evidence = f"exit {end.exit_code} without an event on stdout{_last_words(_printed(end))}"
        return _verdict(definition, end, "no_output", evidence)
    if definition.success.final_event is not None and not told.final:
        evidence = f"exit {end.exit_code}, but final_event is missing among {told.events} events{_last_event(told)}"
        return _verdict(definition, end, "agent_error", evidence)
    return None


def _by_patterns(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run with a good exit code whose output matches a pattern of failure."""
    rules = definition.success
    stdout, stderr = cut_lines(end.stdout), _stderr(end)
    said = _result(definition, end).split("\n")
    good = last_match(rules.final_stdout, stdout)
    printed = stdout if definition.output.format == "text" else stdout + said
    looked_at = (
        ("wrong_mode_stderr", "wrong_mode", rules.wrong_mode_stderr, stderr, -1),
        ("fail_stdout", "agent_error", rules.fail_stdout, printed, -1 if good is None else good.line),
        ("fail_stderr", "agent_error", rules.fail_stderr, stderr, -1),
        ("fail_text", "agent_error", rules.fail_text, said, -1),
    )
    for name, outcome, patterns, lines, behind in looked_at:
        if (found := first_match(patterns, lines, behind)) is not None:
            evidence = f"{name} {shown(found.pattern)} matched: {shown(found.text, TOLD)}"
            return _verdict(definition, end, outcome, evidence + _last_words(lines, but=found.text))
    if rules.final_stdout and good is None:
        wanted = rules.final_stdout if isinstance(rules.final_stdout, str) else " or ".join(rules.final_stdout)
        evidence = f"exit {end.exit_code}, but no line matches final_stdout {shown(wanted)}"
        return _verdict(definition, end, "agent_error", evidence + _last_words(stdout))
    return None


def _by_silence(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run with a good exit code that had to say something, and did not."""
    if definition.success.output_required and not _result(definition, end):
        return _verdict(definition, end, "no_output", f"output_required: exit {end.exit_code} without a final text")
    return None


def _by_schema(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run with a good end whose final text is not what was asked for."""
    if not end.misfit:
        return None
    evidence = f"exit {end.exit_code}, but the answer does not fit its schema: {end.misfit}"
    return _verdict(definition, end, "agent_error", evidence)


def _by_check(definition: Definition, end: JudgedEnd) -> Verdict | None:
    """The verdict on a run with a good end that the task's or type's verification contradicts."""
    check = end.check
    if check is None or (check.exit_code == 0 and not (check.timed_out or check.stopped or check.lost)):
        return None
    what = f"exit {end.exit_code}, but verify {_command(check)}"
    if check.lost is not None:
        verdict = _of_maestro(definition, end, "lost", f"lost while it was verified: {shown(check.lost)}")
        return msgspec.structs.replace(verdict, loss=check.lost)
    if check.stopped is not None:
        return _of_maestro(definition, end, "cancelled", f"stopped while it was verified: {shown(check.stopped, 400)}")
    if check.spawn_error is not None:
        return _of_maestro(definition, end, "agent_error", f"{what} did not start: {shown(check.spawn_error, 400)}")
    if check.timed_out:
        limit = definition.limits.verify_s
        return _of_maestro(definition, end, "agent_error", f"{what} took longer than {limit:g} s (limits.verify_s)")
    told = "was ended by a signal" if check.exit_code is None else f"exited {check.exit_code}"
    return _verdict(definition, end, "agent_error", f"{what} {told}{_last_words(cut_lines(check.output[-8192:]))}")


def _command(check: Check) -> str:
    """The command of a verification, as a person wrote it."""
    words = check.command[2:] if check.command[:2] == ("/bin/sh", "-c") else check.command
    return shown(" ".join(words), 200)


def _unread(definition: Definition, end: JudgedEnd) -> str:
    """What was printed and not looked at, in words, where a rule would have looked at it; "" for nothing."""
    rules = definition.success
    found = [end.told.unread] if end.told is not None and end.told.unread else []
    if (rules.final_stdout or rules.fail_stdout) and end.stdout_bytes > len(end.stdout):
        found.append(f"patterns were looked for in the last {len(end.stdout)} of {end.stdout_bytes} bytes of stdout")
    looked_at = end.stdout if rules.final_stdout or rules.fail_stdout else b""
    looked_at += end.stderr or b"" if rules.fail_stderr or rules.wrong_mode_stderr else b""
    if any(len(line) > LINE_LENGTH_MAX for line in whole_lines(looked_at)):
        found.append(FIRST_CHARACTERS)
    return "; ".join(dict.fromkeys(found))


def _last_event(told: TranscriptSum, but: str = "") -> str:
    """The last event, for evidence that has another one, or none."""
    line = told.last.partition(": ")[0]
    return f"; last event: {told.last}" if told.last and not but.startswith(f"{line}: ") else ""


def _last_words(lines: list[str], but: str = "") -> str:
    """The last line that says something, for evidence that has another one, or none."""
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; last line: {shown(words, TOLD)}" if words and words != but.strip() else ""


def _printed(end: JudgedEnd) -> list[str]:
    """What a run printed last: on stderr, where there is something, else in its log."""
    lines = cut_lines((end.stderr or b"")[-8192:])
    return lines if any(line.strip() for line in lines) else cut_lines((end.log or end.stdout)[-8192:])


def _stderr(end: JudgedEnd) -> list[str]:
    """The lines of a run's stderr; where it was not kept apart, those of the log that stdout does not have."""
    if end.stderr is not None:
        return cut_lines(end.stderr)
    said = set(cut_lines(end.stdout))
    return [line for line in cut_lines(end.log) if line not in said and not line.startswith("TRACE: ")]


def _result(definition: Definition, end: JudgedEnd) -> str:
    """The final text of a run: what its events tell, where there is a rule for that, else the end of stdout."""
    if definition.output.text is None:
        return final_text(end.stdout)
    return "" if end.told is None else final_text(end.told.text.encode("utf-8", "replace"))


def _verdict(definition: Definition, end: JudgedEnd, outcome: str, evidence: str) -> Verdict:
    return Verdict(
        outcome=outcome,
        exit_code=end.exit_code,
        signal=end.signal,
        evidence=evidence,
        result=_result(definition, end),
    )


def _of_maestro(definition: Definition, end: JudgedEnd, outcome: str, evidence: str) -> Verdict:
    return msgspec.structs.replace(_verdict(definition, end, outcome, evidence), source="maestro")


def _exit_text(end: JudgedEnd) -> str:
    if end.exit_code is not None:
        return f"exit {end.exit_code}"
    if end.signal is None:
        return "no exit code"
    try:
        return f"ended by {signals.Signals(end.signal).name}"
    except ValueError:
        return f"ended by signal {end.signal}"
