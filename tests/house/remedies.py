"""The remedies that the code names: each text that tells a user to run a command of Maestro, found in the source.

A remedy names its command as `maestro <command>`, as people paste it; `BARE` finds one that does not. Placeholders of a
text are `{}`. Docstrings, help, examples and the tags of the protocol are no remedies. The walks are in
`tests/runtime/handlers/test_ways_out.py`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("maestro", "projections", "replayers")
GROUPS = {
    "agent": "register|assign|list|health|stop|restart|reset|logs|types",
    "task": "dispatch|status|answer|explain|result|list|wait|logs|cancel|retry",
    "state": "set|get|list|delete|snapshot|snapshots|verify|pin|unpin|restore|rollback",
    "replay": "verify|rebuild|at|diff",
    "events": "tail|export|schema",
    "node": "list|drain|forget",
    "workspace": "list|clean",
    "queue": "status",
    "workflow": "create|run|list|show|diff|delete|runs|status|wait|logs|stop|pause|resume|approve|reject|validate|graph"
    "|schema|enable|disable",
    "schedule": "add|list|remove|enable|disable|run",
    "redis": "flush",
    "monitor": "start|alerts|ack|resend|snooze",
}
NAMED = "|".join(rf"{group} (?:{commands})" for group, commands in GROUPS.items())
ALONE = "audit|board|config|demo|doctor|fork|help|mcp|shutdown|state|up|worker"
REMEDY = re.compile(rf"\b(?:maestro (?:{NAMED}|{ALONE})\b|(?!workflow runs?\b)(?:{NAMED})\b)")
"""`workflow run` alone is what it is called, no command."""
BARE = re.compile(rf"(?<!maestro )(?<!\}} )\b(?!workflow runs?\b)(?:{NAMED})\b")
"""A command without `maestro`, or what stands for it (`{}`), before it."""
NO_REMEDY = {"examples", "Typer", "Argument", "Option", "command", "COMMANDS", "Rule"}
"""`COMMANDS` are with their examples; a `Rule` is what the document says of an alert."""


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
        elif isinstance(node, ast.Call | ast.AnnAssign) and _subject(node) in NO_REMEDY:
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


def _subject(node: ast.Call | ast.AnnAssign) -> str:
    """What is called, or assigned."""
    return _name(node.func if isinstance(node, ast.Call) else node.target)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
