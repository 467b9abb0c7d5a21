"""The values of a workflow's vars: each has the type of its default, whether it comes as text or as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from maestro.model.errors import Invalid
from maestro.model.ids import shown
from maestro.model.workflow.checks import Finding, Path, near
from maestro.model.workflow.definition import Workflow

_TRUE, _FALSE = frozenset({"true", "yes", "on"}), frozenset({"false", "no", "off"})
_KINDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", tuple: "a list",
    dict: "a mapping",
}  # fmt: skip


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value), "nothing")


def fits(value: Any, default: Any) -> bool:
    """Whether a value has the type of a default; one without type (null) takes all."""
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return kind_of(value) == kind_of(default)


def typed(text: str, default: Any) -> Any:
    """The value that a text means where a default has a type: text stays as it is. Raises ValueError for another."""
    if default is None or isinstance(default, str):
        return text
    word = text.strip()
    if isinstance(default, bool):
        if word.lower() not in _TRUE | _FALSE:
            raise ValueError
        return word.lower() in _TRUE
    try:
        found = msgspec.json.decode(word)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError from None
    if not fits(found, default):
        raise ValueError
    return found


def merged(workflow: Workflow, given: Mapping[str, Any], option: str) -> dict[str, Any]:
    """The vars with given values over the defaults. option: where these come from. Raises Invalid for one that is not
    declared, or of another type.
    """
    for name, value in given.items():
        _check_declared(workflow, name, option)
        if not fits(value, workflow.vars[name]):
            raise _mistyped(name, shown(msgspec.json.encode(value).decode()), workflow.vars[name], option)
    return {**workflow.vars, **given}


def from_texts(workflow: Workflow, given: Mapping[str, str], option: str) -> dict[str, Any]:
    """Values that are given as texts, as data. Raises as `merged`."""
    found: dict[str, Any] = {}
    for name, text in given.items():
        _check_declared(workflow, name, option)
        try:
            found[name] = typed(text, workflow.vars[name])
        except ValueError:
            raise _mistyped(name, shown(text), workflow.vars[name], option) from None
    return found


def _check_declared(workflow: Workflow, name: str, option: str) -> None:
    if name not in workflow.vars:
        mend = near(name, list(workflow.vars)) or "the workflow declares no vars: add it to `vars`"
        raise Invalid(f"there is no var {shown(name)}", option, mend)


def _mistyped(name: str, value: str, default: Any, option: str) -> Invalid:
    wanted = kind_of(default)
    mend = "write it as JSON" if isinstance(default, (list, tuple, dict)) else f"give {wanted}, as its default is"
    return Invalid(f"{name}={value} is not {wanted}", option, mend)


def param_findings(workflow: Workflow) -> Iterator[Finding]:
    """Values of schedules that are not of the type of their vars."""
    for at, schedule in enumerate(workflow.schedules):
        yield from misfits(schedule.params, workflow, ("schedules", at, "params"))


def misfits(given: Mapping[str, Any], workflow: Workflow, path: Path) -> Iterator[Finding]:
    """Values that are not of the type of the vars that they are for; templates are known when they are rendered."""
    for name, value in given.items():
        default = workflow.vars.get(name)
        if name in workflow.vars and not fits(value, default) and not (isinstance(value, str) and "{{" in value):
            what = f"is {kind_of(value)}, but the var `{name[:60]}` is {kind_of(default)}"
            yield Finding((*path, name), what, f"give {kind_of(default)}")
