"""The way of one prompt, as README tells it, is the way of the code: each step is there, and leads to the next one.

A step is a line `N. `file`: [on `Crossing` …] `function` …`. The step before it must name its function, in the body of
its own or of one that it calls within its file. A step that begins with `on` takes something up instead (a message, an
event, an object): its own code and that of an earlier step must both name it.
"""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house import sources
from tests.house.documents import README

HEADING = "## The way of one prompt"
STEP = re.compile(r"^(\d+)\. `([\w/.]+\.py)`: (?:on `(\w+)`[^`\n]*)?`([\w.]+)`", re.MULTILINE)
NUMBERED = re.compile(r"^\d+\.", re.MULTILINE)
STEPS_MIN = 20
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Step(NamedTuple):
    """One line of the list. crossing: what it takes up, "" where the step before calls it."""

    number: int
    path: Path
    crossing: str
    function: str


def steps_of(text: str) -> list[Step]:
    """The steps in a text; each numbered line must be one."""
    found = [
        Step(int(number), Path(path), crossing, function) for number, path, crossing, function in STEP.findall(text)
    ]
    assert len(found) == len(NUMBERED.findall(text)), "a numbered line is no step"
    return found


def told() -> list[Step]:
    """The steps that README tells."""
    return steps_of(sources.text(README).partition(HEADING)[2].partition("\n## ")[0])


def functions(path: Path) -> dict[str, list[Function]]:
    """The functions and methods of a module by name (of the module itself, else of any of its classes), and by
    `Class.name`.
    """
    module = sources.tree(path)
    own = {node.name: [node] for node in module.body if isinstance(node, Function)}
    found: dict[str, list[Function]] = dict(own)
    for node in ast.walk(module):
        if isinstance(node, Function) and node.name not in own:
            found.setdefault(node.name, []).append(node)
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, Function):
                    found.setdefault(f"{node.name}.{part.name}", []).append(part)
    return found


def named_by(path: Path, function: str) -> set[str]:
    """Every name in a function, its signature, and the functions of its module that it names, without underscores."""
    known = functions(path)
    open_, seen, names = [function], {function}, set[str]()
    while open_:
        for node in known[open_.pop()]:
            found = {name for part in ast.walk(node) for name in _names(part)}
            names |= found
            open_ += [name for name in found - seen if name in known]
            seen |= found
    return {name.strip("_") for name in names}


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [node.arg] if isinstance(node, ast.arg) else []


def breaks(steps: list[Step]) -> list[str]:
    """Where the way is broken: a function that is not there, or that nothing leads to."""
    broken = []
    missing = [step for step in steps if not is_there(step)]
    if missing:
        return [f"{step.number}: no {step.function} in {step.path}" for step in missing]
    for before, step in pairwise(steps):
        if not step.crossing:
            name = step.function.rpartition(".")[2].strip("_")
            if name not in named_by(before.path, before.function):
                broken.append(f"{step.number}: {before.function} in {before.path} does not call {step.function}")
            continue
        if step.crossing not in named_by(step.path, step.function):
            broken.append(f"{step.number}: {step.function} in {step.path} does not name {step.crossing}")
        earlier = [each for each in steps if each.number < step.number]
        if not any(step.crossing in named_by(each.path, each.function) for each in earlier):
            broken.append(f"{step.number}: no step before it names {step.crossing}")
    return broken


def is_there(step: Step) -> bool:
    """Whether the module has this function, and only one that is called so."""
    return (sources.ROOT / step.path).is_file() and len(functions(step.path).get(step.function, ())) == 1


def test_each_step_is_there_and_leads_to_the_next() -> None:
    steps = told()
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) >= STEPS_MIN
    assert not breaks(steps)


def test_it_begins_and_ends_at_the_command_line_and_comes_by_every_floor_between() -> None:
    steps = told()
    assert steps[0].path == Path("maestro/cli/task.py") and steps[-1].path == Path("maestro/cli/answer.py")
    floors = ("client", "server", "handlers", "node", "scheduler", "worker", "supervision")
    rooms = {
        *(f"maestro/runtime/{floor}" for floor in floors),
        "maestro/model",
        "maestro/store/redis",
        "maestro/agents",
    }
    assert rooms <= {str(step.path.parent) for step in steps}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2. `maestro/cli/answer.py`: `nobody` prints.", "no nobody"),
        ("2. `maestro/cli/nowhere.py`: `one` prints.", "no one in maestro/cli/nowhere.py"),
        ("2. `maestro/cli/answer.py`: `rows` prints.", "does not call rows"),
        ("2. `maestro/cli/answer.py`: on `TaskDispatch` `one` prints.", "one in maestro/cli/answer.py does not name"),
        (
            "2. `maestro/runtime/server/connection.py`: on `Hello` `serve_connection` answers.",
            "no step before it names",
        ),
    ],
)
def test_a_way_that_is_broken_would_be_noticed(line: str, why: str) -> None:
    found = breaks(steps_of(f"1. `maestro/cli/task.py`: `dispatch` begins.\n{line}\n"))
    assert len(found) == 1 and why in found[0]
