"""Checks of the rules by which an agent's output is read and judged: paths, matches, patterns, how to resume."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from maestro.agents.documents import Document, Path
from maestro.agents.event_paths import PATH, patterns
from maestro.agents.printable_text import shown
from maestro.agents.schema import Definition

_EVENTS = ("final_event", "fail_event", "refused_event")
_PATTERNS = ("final_stdout", "fail_stdout", "fail_stderr", "fail_text", "wrong_mode_stderr", "refused_text")
_PATHS = ("path", "input", "output", "cached", "cost")


def check_rules(document: Document, keys: dict[str, Any]) -> None:
    """Check `output`, `success` and `resume` as written. Raises Invalid at the first that cannot be right."""
    output, success = keys.get("output", {}), keys.get("success", {})
    for name in _PATTERNS:
        if name in success:
            check_pattern(document, success[name], ("success", name))
    for name in _EVENTS:
        for path, match in _several(success.get(name), ("success", name)):
            _check_match(document, match, path)
    for path, rule in (
        *_several(output.get("text"), ("output", "text")),
        *_several(output.get("usage"), ("output", "usage")),
    ):
        for name in ("match", "after"):
            if rule.get(name) is not None:
                _check_match(document, rule[name], (*path, name), may_be_empty=name == "match")
        for name in _PATHS:
            if rule.get(name):
                _check_path(document, rule[name], (*path, name))
    if keys.get("resume") is not None:
        _check_resume(document, keys["resume"])


def check_pattern(document: Document, pattern: str, path: Path, groups: int = 0) -> None:
    """Check that a text is a regular expression with at least so many groups. Raises Invalid."""
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise document.invalid(path, f"is no regular expression: {error}", "mend the pattern") from None
    if compiled.groups < groups:
        raise document.invalid(path, "has no group", "put what is looked for in parentheses")


def check_form(document: Document, form: Definition) -> None:
    """Check what only the merged keys can tell: the rules fit the format and the arguments. Raises Invalid."""
    output, success = form.output, form.success
    for at, rule in enumerate(output.session):
        if output.format == "text":
            check_pattern(document, rule, ("output", "session", at), groups=1)
        else:
            _check_path(document, rule, ("output", "session", at))
    told = {
        ("output", "text"): output.text,
        ("output", "usage"): output.usage,
        **{("success", name): getattr(success, name) for name in _EVENTS},
    }
    for path, rule in told.items():
        if rule is not None and output.format == "text":
            raise document.invalid(path, "needs events, but the output is text", "set output: {format: ndjson}")
    resume = form.resume
    if resume is None:
        return
    if resume.before not in ("prompt", "start", "end") and resume.before not in form.argv:
        mend = "use prompt, start, end, or one of the arguments"
        raise document.invalid(("resume", "before"), f"{shown(resume.before)} is not in argv", mend)
    if not output.session:
        mend = "say in output.session where the agent tells the id of its session"
        raise document.invalid(("resume",), "needs a session, but none is ever known", mend)


def _check_resume(document: Document, resume: dict[str, Any]) -> None:
    named = [name for name in ("args", "argv") if "{session}" in resume.get(name, ())]
    if not named:
        raise document.invalid(("resume",), "has no {session}", 'write it like {args: ["--session", "{session}"]}')
    if resume.get("args") and resume.get("argv"):
        raise document.invalid(("resume", "argv"), "is there together with args", "keep one of them")


def _check_match(document: Document, match: dict[str, Any], path: Path, may_be_empty: bool = False) -> None:
    if not match and not may_be_empty:
        raise document.invalid(path, "matches every event", "write it like {type: error}")
    for place in match:
        _check_path(document, place, (*path, place))
    for place, pattern in patterns(match):
        check_pattern(document, pattern, (*path, place))


def _check_path(document: Document, place: str, path: Path) -> None:
    if not PATH.fullmatch(place.removeprefix("$.")):
        raise document.invalid(path, f"{shown(place)} is no path", "write it like part.text or items[0].text")


def _several(value: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """One mapping or a list of them, each with its place."""
    if isinstance(value, dict):
        yield path, value
    for at, one in enumerate(value if isinstance(value, list) else ()):
        yield (*path, at), one
