"""The remedies that the code names: each text that tells a user to run a command of Maestro, found in the source.

A remedy names its command as `maestro <command>`, or as `<group> <command>` (`task list shows all`). Placeholders of a
text are `{}`. Docstrings, help, examples and the tags of the protocol are no remedies. The walks are in
`tests/runtime/test_ways_out.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("maestro", "projections", "replayers")
GROUPS = {
    "agent": "register|assign|list|health|stop|restart|reset|logs|types",
    "task": "dispatch|status|list|wait|logs|cancel|retry",
    "state": "set|get|list|delete|snapshot|snapshots|verify|pin|unpin|restore|rollback",
    "replay": "verify|rebuild|at|diff",
    "events": "tail|export|schema",
    "node": "list",
    "workspace": "list|clean",
    "queue": "status",
    "redis": "flush",
}
NAMED = "|".join(rf"{group} (?:{commands})" for group, commands in GROUPS.items())
ALONE = "audit|config|demo|doctor|shutdown|state|up|worker"
REMEDY = re.compile(rf"\b(?:maestro (?:{NAMED}|{ALONE})\b|(?:{NAMED})\b)")
NO_REMEDY = {"examples", "Typer", "Argument", "Option", "command"}


def remedies(top: Path) -> dict[str, str]:
    """Text -> where it stands first, of all remedies below a folder."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((top / folder).rglob("*.py")):
            if "commands" in path.parts:
                continue
            for line, text in _texts(ast.parse(path.read_text())):
                if REMEDY.search(text) and not re.fullmatch(NAMED, text) and '{"' not in text:
                    found.setdefault(text, f"{path.relative_to(top)}:{line}")
    return found


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, ast.Call) and _name(node.func) in NO_REMEDY:
            skipped |= {id(part) for part in ast.walk(node)}
        elif isinstance(node, ast.keyword) and node.arg in ("tag", "help", "epilog"):
            skipped |= {id(part) for part in ast.walk(node.value)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                skipped |= {id(part) for part in ast.walk(decorator)}
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(parts)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


ELSEWHERE = {
    "find out what the store lost, then `maestro doctor --accept-loss`": (
        "tests/runtime/test_losses.py::test_a_store_without_its_tail_stops_the_daemon_until_the_loss_is_accepted"
    ),
    "stop, find out what the store lost, then `maestro doctor --accept-loss`": (
        "tests/store/test_healing.py::test_what_is_left_of_a_damaged_log_is_made_one_whole_log"
    ),
    "a process inside a run may use `maestro state` only": (
        "tests/cli/test_exit_codes.py::test_inside_a_run_only_state_is_offered"
    ),
    "a process inside a run may use `maestro state set|get|list|delete` only": (
        "tests/runtime/test_containment_bubblewrap.py::test_state_works_from_inside_and_the_other_commands_do_not"
    ),
    "`maestro doctor` says which rights it needs": (
        "tests/runtime/test_store_trouble.py::test_who_is_not_let_in_is_told_in_one_line"
    ),
    "see with `maestro doctor` that keys are not evicted, and that nobody else writes to this namespace": (
        "tests/runtime/test_doctor.py::test_a_store_that_is_unsafe_is_told_with_what_is_right_about_it"
    ),
}

"""Remedies that another test walks."""

UNTRIED = {
    "maestro agent register {}": "a definition is resolved before it gets there; the error guards against a defect",
    "maestro shutdown, then again": "needs a daemon that does not end for a minute",
    "its node may be away: node list": "needs a node that is away for as long as a stop is waited for",
    "see its log; end it, and run `maestro up`": "needs a daemon that stands still",
    "stop it first: agent stop {}": "a reset stops it first: the error is for who starts it in between",
    "agent health {}; --force overrides": "needs an agent whose checks fail",
    "agent list shows why; --force overrides health": "needs an agent whose checks fail",
    "stop it: agent stop {} --force": "needs a run that cannot be frozen",
    "agent stop <id> --force": "needs a run that outlives a restore",
    "interrupted; task {} goes on: maestro task wait {}, or maestro task cancel {}": "a note, no refusal",
    "maestro state restore {}{}": "the undo of a restore: the restores' tests run it",
    "maestro state restore {} --workspace {}": "the undo of a reset: the snapshots' tests run it",
    "node list shows all": "a node that is there is this one, to which an assignment needs no --node",
    "workspace list shows all": "a list of what `state snapshot --workspace` takes",
    "events schema lists them": "a schema, no list of names to try again with",
    "That was Maestro. Next: `maestro agent assign --help` and `maestro task dispatch --help`": "an invitation",
    "sleep 1; echo 'an API on port 8080' | tee plan.md; {} state set api_port 8080 --ttl 1h >/dev/null": "a demo's",
}
"""Remedies that no test walks, and why."""
