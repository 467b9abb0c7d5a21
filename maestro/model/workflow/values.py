"""What a template may read of a run: plain data by root, and of that only what the template names.

A template that reads one item of two thousand gets that one. Large texts stand for themselves as `BlobRef`; what is to
be read as JSON as `Parsed`: the caller fetches the first, and has the process that evaluates parse the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from maestro.model.facts import BlobRef, Text
from maestro.model.facts.workflow import StepEnded
from maestro.model.workflow.checking.template_checks import FIELDS
from maestro.model.workflow.instances import FAILED, Instance, instance_id
from maestro.model.workflow.run import Run
from maestro.model.workflow.template import Read

SHOWN_CHARS = 200
SHOWN_ITEMS = 20
SHOWN_NAMES = 64


class Parsed(msgspec.Struct, frozen=True):
    """A text that is to be read as JSON. None: there is none, as the step was skipped, or has not been there yet."""

    text: Text | None


def values(run: Run, step: str, instance: str, reads: Sequence[Read]) -> dict[str, Any]:
    """The values that these reads may find, by root, without `state`, which is no part of the run.

    step: whose template it is, "" for one of the run itself. instance: for which it is evaluated, "" where that is
    done for the whole step: `when`, `for_each`, the question of an approval, and `until`.
    """
    one = run.instances.get(instance)
    found: dict[str, Any] = {}
    for root in dict.fromkeys(read.root for read in reads):
        of_root = [read.keys for read in reads if read.root == root]
        match root:
            case "vars":
                found[root] = _named(run.fact.params, of_root)
            case "steps":
                found[root] = _steps(run, step, of_root)
            case "previous":
                found[root] = _previous(run.previous(one) if one is not None else None)
            case "run":
                found[root] = _run(run)
            case "item" if one is not None and one.item is not None:
                found[root] = run.items[one.step][one.item]
            case "index" if one is not None and one.item is not None:
                found[root] = one.item
            case "round" if step in run.current:
                found[root] = one.round if one is not None else run.current[step].round
    return found


def _named(whole: Mapping[str, Any], reads: Iterable[tuple[str | int, ...]]) -> dict[str, Any]:
    """Of a mapping what is read: all, where a read computes its key."""
    found: dict[str, Any] = {}
    for keys in reads:
        if not keys:
            return dict(whole)
        if keys[0] in whole:
            found[str(keys[0])] = whole[str(keys[0])]
    return found


def _run(run: Run) -> dict[str, Any]:
    fact = run.fact
    return {
        "id": run.id,
        "workflow": fact.workflow,
        "version": fact.version,
        "started_at": run.started_at,
        "parent": fact.parent,
    }


def _previous(told: StepEnded | None) -> dict[str, Any]:
    """The last attempt; empty in the first."""
    if told is None:
        return {"verify": "", "error": "", "result": "", "outcome": "", "exit_code": None}
    return {
        "verify": told.check,
        "error": told.error,
        "result": told.result,
        "outcome": told.outcome,
        "exit_code": told.exit_code,
    }


def _steps(run: Run, step: str, reads: Sequence[tuple[str | int, ...]]) -> dict[str, Any]:
    """Of each step that is read the fields that are; of all steps, where a read computes the name."""
    wanted: dict[str, dict[str, list[tuple[str | int, ...]]]] = {}
    for keys in reads:
        for name in [str(keys[0])] if keys else run.steps:
            fields = [str(keys[1])] if len(keys) > 1 else FIELDS
            for field in fields:
                wanted.setdefault(name, {}).setdefault(field, []).append(keys[2:])
    return {
        name: _step(run, name, _round_of(run, name, step), fields)
        for name, fields in wanted.items()
        if name in run.current
    }


def _round_of(run: Run, name: str, step: str) -> int:
    """The round of a step that another one sees; 0 for none.

    In a loop what comes later in the body, the step itself too, is that of the round before; what stands beside it is
    so too, as it may not have ended. When the round is over, all of it is seen.
    """
    now = run.current[name]
    if now.dropped and now.status == "skipped":  # for what handles the end of the run
        return now.round - 1 if now.round > 1 else now.round
    if step in run.turning or not set(run.loops_of.get(step, ())).intersection(run.loops_of.get(name, ())):
        return now.round
    return now.round if _is_before(run, name, step) else now.round - 1


def _is_before(run: Run, name: str, step: str) -> bool:
    """Whether a step must have ended before another one of the same loop starts."""
    if name == step:
        return False
    known = run.before_in_loop.get((name, step))
    if known is None:
        body = run.graph.loops[next(end for end in run.loops_of[step] if end in run.loops_of[name])].body
        waiting, seen = [step], {step}
        while waiting and name not in seen:
            for need in run.graph.needs[waiting.pop()]:
                if need in body and need not in seen:
                    seen.add(need)
                    waiting.append(need)
        known = run.before_in_loop[name, step] = name in seen
    return known


def _step(run: Run, name: str, round: int, fields: Mapping[str, list[tuple[str | int, ...]]]) -> dict[str, Any]:
    """The fields of a step in a round, from 1; empty for no round."""
    size = run.sizes.get((name, round))
    id = instance_id(name, round)
    one, told = (run.instances.get(id), run.told.get(id)) if round > 0 and size is None else (None, None)
    found: dict[str, Any] = {}
    for field, keys in fields.items():
        if field == "items":
            found[field] = _items(run, name, round, keys)
        elif field == "status":
            found[field] = _status(run, name, round)
        elif field == "usage" and size is not None:
            found[field] = _usage(run.instances.get(instance_id(name, round, item)) for item in range(size))
        elif field in FIELDS:
            found[field] = _field(field, one, told)
    return found


def _status(run: Run, name: str, round: int) -> str:
    """The status of a step in a round, as a user knows it."""
    activation = run.current[name]
    if round == activation.round:
        return activation.status if activation.done else "running" if activation.taken else "waiting"
    size = run.sizes.get((name, round))
    ids = [instance_id(name, round)] if size is None else [instance_id(name, round, item) for item in range(size)]
    statuses = {run.instances[id].status for id in ids if id in run.instances} if round > 0 else set[str]()
    if size is None or len(statuses) < 2:
        return next(iter(statuses), "completed" if size == 0 else "")
    return "failed" if statuses & FAILED else "completed"


def _field(field: str, one: Instance | None, told: StepEnded | None) -> Any:
    """A field of an instance; empty for one that was skipped or is not there."""
    skipped = told is None or told.status == "skipped"
    match field:
        case "output":  # the stdout, which is told apart only where the result is another text
            return "" if told is None else told.output or told.result
        case "result":
            return "" if told is None else told.result
        case "json":
            return Parsed(None if skipped or told is None else told.result)
        case "status":
            return one.status if one is not None else told.status if told is not None else ""
        case "exit_code":
            return None if told is None else told.exit_code
    return _usage([one])


def _usage(instances: Iterable[Instance | None]) -> dict[str, Any]:
    found = [one for one in instances if one is not None]
    return {
        "tokens": sum(one.tokens for one in found),
        "input_tokens": sum(one.input_tokens for one in found),
        "output_tokens": sum(one.output_tokens for one in found),
        "cost": sum(one.cost for one in found),
    }


def _items(run: Run, name: str, round: int, reads: Sequence[tuple[str | int, ...]]) -> Any:
    """The items of a step, in order; by their number where only some are read."""
    size = run.sizes.get((name, round), 0)
    numbers = {keys[0] for keys in reads if keys and isinstance(keys[0], int)}
    if len(numbers) < len({keys[0] if keys else "" for keys in reads}):
        return [_item(run, name, round, number) for number in range(size)]
    return {number: _item(run, name, round, number % size) for number in sorted(numbers) if -size <= number < size}


def _item(run: Run, name: str, round: int, number: int) -> dict[str, Any]:
    id = instance_id(name, round, number)
    one, told = run.instances.get(id), run.told.get(id)
    return {field: _field(field, one, told) for field in FIELDS if field != "items"}


def read_of(found: Mapping[str, Any], reads: Sequence[Read]) -> dict[str, Any]:
    """What a template read, by name, each value shortened: for the event."""
    shown: dict[str, Any] = {}
    for read in reads:
        value: Any = found.get(read.root)
        names = [read.root]
        for key in read.keys:
            if isinstance(value, Parsed) or not isinstance(value, Mapping) or key not in value:
                break
            value = value[key]
            names.append(str(key))
        else:
            if not read.keys and read.root in ("steps", "vars", "state", "run"):
                continue  # a computed name: what it named is not known here
        if len(shown) < SHOWN_NAMES and (len(names) > 1 or not read.keys):
            shown[".".join(names)] = shortened(value)
    return shown


def shortened(value: Any, depth: int = 3) -> Any:
    """A value as it can stand in an event: long texts and lists cut, what lies deep left out."""
    if isinstance(value, Parsed):
        value = value.text
    if isinstance(value, BlobRef):
        return {"blob": value.blob, "size": value.size}
    if isinstance(value, str):
        return value if len(value) <= SHOWN_CHARS else value[: SHOWN_CHARS - 1] + "…"
    if isinstance(value, (list, tuple)):
        if not depth:
            return "[…]" if value else []
        kept = [shortened(one, depth - 1) for one in value[:SHOWN_ITEMS]]
        return [*kept, f"… {len(value) - SHOWN_ITEMS} more"] if len(value) > SHOWN_ITEMS else kept
    if isinstance(value, Mapping):
        if not depth:
            return "{…}" if value else {}
        return {str(key)[:SHOWN_CHARS]: shortened(one, depth - 1) for key, one in list(value.items())[:SHOWN_ITEMS]}
    return value
