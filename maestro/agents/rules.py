"""Checks of the rules by which an agent's output is read and judged: paths, matches, patterns, how to resume."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from maestro.agents.event_paths import PATH, patterns
from maestro.agents.parts import Output, Prompt, TextRule, UsageRule
from maestro.agents.schema import Definition
from maestro.documents.yaml_tree import Document, Path
from maestro.printable_text import shown

_EVENTS = ("final_event", "fail_event", "refused_event")
_PATTERNS = ("final_stdout", "fail_stdout", "fail_stderr", "fail_text", "wrong_mode_stderr", "refused_text")
_PATHS = ("path", "input", "output", "cached", "cost", "id")


def check_rules(document: Document, keys: dict[str, Any]) -> None:
    """Check `output`, `success` and `resume` as written. Raises Invalid at the first that cannot be right."""
    output, success = keys.get("output", {}), keys.get("success", {})
    for name in _PATTERNS:
        several = success.get(name, ())
        for at, pattern in enumerate([several] if isinstance(several, str) else several):
            check_pattern(document, pattern, ("success", name) if isinstance(several, str) else ("success", name, at))
    for name in _EVENTS:
        for path, match in _several(success.get(name), ("success", name)):
            _check_match(document, match, path)
    for path, rule in (
        *_several(output.get("text"), ("output", "text")),
        *_several(output.get("usage"), ("output", "usage")),
    ):
        _check_rule(document, rule, path)
    if keys.get("resume") is not None:
        _check_resume(document, keys["resume"])


def _check_rule(document: Document, rule: dict[str, Any], path: Path) -> None:
    """Check a rule of the final text or of usage."""
    for name in ("match", "after"):
        if isinstance(rule.get(name), str):
            check_pattern(document, rule[name], (*path, name))
        elif rule.get(name) is not None:
            _check_match(document, rule[name], (*path, name), may_be_empty=name == "match")
    for name in _PATHS:
        for place in [rule[name]] if isinstance(rule.get(name), str) else rule.get(name, ()):
            if place:
                _check_path(document, place, (*path, name))
    if rule.get("pattern"):
        check_pattern(document, rule["pattern"], (*path, "pattern"))


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
    for name in _EVENTS:
        if getattr(success, name) is not None and output.format == "text":
            mend = "set output: {format: ndjson}"
            raise document.invalid(("success", name), "needs events, but the output is text", mend)
    _check_guard(document, form.prompt)
    _check_output(document, form.output)
    if form.args:
        _check_before(document, form, form.args_before, ("args_before",))
    if form.resume is None:
        return
    _check_before(document, form, form.resume.before, ("resume", "before"))
    if output.session and not form.resume.by_id:
        mend = 'write it like {args: ["--session", "{session}"]}, or empty output.session'
        raise document.invalid(("resume",), "has no {session}", mend)
    if form.resume.by_id and not output.session:
        mend = "say in output.session where the agent tells the id of its session"
        raise document.invalid(("resume",), "needs a session, but none is ever known", mend)


def _check_guard(document: Document, prompt: Prompt) -> None:
    if prompt.guard[:1] in {"", "-", *prompt.commands}:
        mend = "begin it with a line end, or a word that the program takes for text"
        raise document.invalid(("prompt", "guard"), f"{shown(prompt.guard)} does not make a prompt plain text", mend)


def _check_output(document: Document, output: Output) -> None:
    """Check that the rules of text and usage are of the kind that the format has."""
    for text in output.texts:
        _check_kind(document, output.format, text, ("output", "text"))
        if not (text.path or text.pattern):
            raise document.invalid(("output", "text"), "key 'path' is missing", "add `path: …`")
        if text.after is not None and isinstance(text.after, str) != (output.format == "text"):
            mend = "give a pattern for a text, a match for events"
            raise document.invalid(("output", "text", "after"), f"does not fit the format {output.format}", mend)
    for usage in output.usages:
        _check_kind(document, output.format, usage, ("output", "usage"))
        if usage.pattern and not set(re.compile(usage.pattern).groupindex) & set(_PATHS):
            mend = "name them like (?P<input>[0-9]+): input, output, cached, cost, id"
            raise document.invalid(("output", "usage", "pattern"), "has no group of such a name", mend)


def _check_kind(document: Document, form: str, rule: TextRule | UsageRule, path: Path) -> None:
    """Check that a rule is one of patterns where the output is text, else one of paths."""
    if form == "text" and not rule.pattern:
        mend = "give a pattern for a line, or set output: {format: ndjson}"
        raise document.invalid(path, "needs events, but the output is text", mend)
    if form != "text" and rule.pattern:
        raise document.invalid((*path, "pattern"), f"is for text, but the output is {form}", "give match and path")


def _check_before(document: Document, form: Definition, before: str, path: Path) -> None:
    if before not in ("prompt", "start", "end") and before not in form.argv:
        mend = "use prompt, start, end, or one of the arguments"
        raise document.invalid(path, f"{shown(before)} is not in argv", mend)


def _check_resume(document: Document, resume: dict[str, Any]) -> None:
    if not (resume.get("args") or resume.get("argv")):
        raise document.invalid(("resume",), "has no arguments", 'write it like {args: ["--session", "{session}"]}')
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
