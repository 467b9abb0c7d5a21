"""One version, told in three places, and a distribution that carries what it needs at run time."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import maestro
from tests.house import sources


def project() -> dict[str, Any]:
    return tomllib.loads((sources.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_package_and_project_tell_one_version_and_the_changelog_heads_with_it() -> None:
    heads = re.findall(r"^## (\d\S*)", (sources.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert project()["project"]["version"] == maestro.__version__ == heads[0]


def test_the_version_is_at_least_the_one_that_the_command_line_promises() -> None:
    assert tuple(int(part) for part in maestro.__version__.split(".")) >= (1, 2, 0)


def test_what_is_not_python_lies_inside_a_package() -> None:
    data = [
        path for path in sources.files() if path.suffix in {".lua", ".yaml"} and path.parts[0] not in {"tests", "tools"}
    ]
    data += [path for path in sources.files() if path.parent.name == "docs"]  # `maestro help` shows them
    packages = set(project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages == set(sources.PACKAGES)
    assert not [str(path) for path in data if path.parts[0] not in packages and not path.name.startswith(".")]


def test_the_licence_is_there() -> None:
    assert "MIT" in (sources.ROOT / "LICENSE").read_text(encoding="utf-8")
