"""The README is about this house: what it names is there, and it names what must be named."""

from __future__ import annotations

import re
import tomllib

from maestro import config
from tests.house import sources

README = sources.ROOT / "README.md"
TOPS = "maestro|projections|replayers|tests|tools|\\.ci"
PATH = re.compile(rf"(?<![\w/.{{}}$<>~-])(?:{TOPS})/[\w./*-]*[\w*/]")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def readme() -> str:
    return README.read_text(encoding="utf-8")


def test_every_path_that_the_readme_names_exists() -> None:
    named = set(PATH.findall(readme())) | set(LINK.findall(readme()))
    assert named
    assert not sorted(path for path in named if not any(sources.ROOT.glob(path.rstrip("/"))))


def test_every_dependency_is_named_with_its_reason() -> None:
    declared = tomllib.loads((sources.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[\[<>=;! ]", line)[0] for line in declared]
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| (.{10,}) \|$", readme(), re.MULTILINE)
    assert not set(names) - {name for name, _ in rows}


def test_every_variable_that_the_settings_read_is_named() -> None:
    shown = config.show(config.load({"HOME": "/nowhere"}))
    assert not sorted(row["name"] for row in shown if f"`{row['name']}`" not in readme())


def test_the_two_commands_are_named() -> None:
    assert "tools/quickstart" in readme()
    assert "tools/test" in readme()
