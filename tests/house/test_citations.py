"""What comments and docstrings name as a file of the project is there, and says what it is cited for today."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import sources

FILE = re.compile(r"(?<![\w/.<>{}*~$-])[\w][\w./-]*\.(?:py|md|lua)\b(?!\w)")
SCRIPT_COMMENT = re.compile(r"^\s*(?:#|--)(.*)$", re.MULTILINE)


def cited(path: Path) -> Iterator[str]:
    """The files that the comments and docstrings of a file name."""
    text = sources.text(path)
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        said = [token.string for token in tokens if token.type == tokenize.COMMENT]
        said += docstrings(path)
    else:
        said = SCRIPT_COMMENT.findall(text)
    for part in said:
        yield from FILE.findall(part)


def docstrings(path: Path) -> list[str]:
    """The texts that stand alone: of modules, classes and functions, and behind a constant or a field."""
    alone = [node.value for node in ast.walk(sources.tree(path)) if isinstance(node, ast.Expr)]
    return [node.value for node in alone if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def is_there(name: str, path: Path) -> bool:
    """Whether a name is that of a file: from the root, or from a folder that the citing file lies in."""
    return any((sources.ROOT / folder / name).is_file() for folder in path.parents)


def citing() -> list[Path]:
    """All files with comments."""
    scripts = {"", ".sh", ".lua", ".yaml", ".toml"}
    tops = {"maestro", "projections", "replayers", "tools", "tests", ".ci"}
    paths = [path for path in sources.files() if path.parts[0] in tops or path.name == "pyproject.toml"]
    return [path for path in paths if path.suffix == ".py" or path.suffix in scripts]


def test_every_file_that_a_comment_or_docstring_names_is_there() -> None:
    wrong = {str(path): [name for name in cited(path) if not is_there(name, path)] for path in citing()}
    assert not {path: names for path, names in wrong.items() if names}


@pytest.mark.parametrize("name", ["SPEC.md", "model/schedule.py", "errors.py.md"])
def test_a_file_that_is_not_there_would_be_noticed(name: str) -> None:
    assert not is_there(name, Path("maestro/cli/app.py"))
    assert is_there("model/errors.py", Path("maestro/cli/app.py"))
