"""What the tests of the house read: the project's own files, as git knows them, and their syntax trees."""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("maestro", "projections", "replayers")
MADE = {"__pycache__", "build", "dist"}


@cache
def files() -> tuple[Path, ...]:
    """All files of the project, relative to its root: tracked or about to be, or (in a bare copy) simply there."""
    if (ROOT / ".git").exists():
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        out = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        return tuple(sorted(path for name in out.split("\0") if name and (ROOT / (path := Path(name))).is_file()))
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(sorted(path for path in found if not made(path)))


def made(path: Path) -> bool:
    """Whether a tool made this file: caches, environments, builds."""
    hidden = any(part.startswith(".") for part in path.parts[:-1]) and path.parts[0] != ".ci"
    return hidden or bool(MADE & set(path.parts)) or any(part.endswith(".egg-info") for part in path.parts)


def modules(*tops: str) -> list[Path]:
    """The Python files below these top-level folders, or all of them."""
    return [path for path in files() if path.suffix == ".py" and (not tops or path.parts[0] in tops)]


@cache
def text(path: Path) -> str:
    """The content of one file, by its path from the root."""
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of one module."""
    return ast.parse(text(path), filename=str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Each module that a module imports, at its top or inside a function, with the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.lineno, node.module


def module_name(path: Path) -> str:
    """The dotted name by which a module is imported."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def docstrings(path: Path) -> list[ast.Constant]:
    """The docstrings of a module: its own, its classes' and its functions'."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, documented) and ast.get_docstring(node)]
    firsts = [node.body[0].value for node in nodes if isinstance(node.body[0], ast.Expr)]
    return [first for first in firsts if isinstance(first, ast.Constant)]


def code_lines(path: Path) -> int:
    """How many lines of a module carry code: neither blank, nor comment, nor docstring."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text(path)).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in docstrings(path):
        lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Each string constant of a module but its docstrings, with the line; parts of f-strings too."""
    told = {id(node) for node in docstrings(path)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value
