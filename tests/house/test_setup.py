"""Setting up on a machine that lacks something: one line says what, and nothing is half done."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house import sources


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what the set-up reads."""
    (tmp_path / "tools").mkdir()
    shutil.copy(sources.ROOT / "tools/environment.sh", tmp_path / "tools")
    shutil.copytree(sources.ROOT / "tools/locked", tmp_path / "tools/locked")
    shutil.copy(sources.ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def program(folder: Path, name: str, body: str) -> Path:
    """A shell script that can be run."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def stand_in(project: Path, pip: str = "") -> str:
    """A Python that notes how it was called, makes an environment of itself, and runs `pip` where it is asked to."""
    made = 'if [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python && touch .venv/pyvenv.cfg; fi'
    return str(program(project, "python", f'echo "$@" >>calls; {made}\nif [ "$2" = pip ]; then :; {pip}\nfi'))


def prepare(project: Path, python: str, what: str = "run") -> subprocess.CompletedProcess[str]:
    """Source the set-up with this Python, and prepare."""
    script = ["sh", "-c", f"sleep() {{ :; }}; . tools/environment.sh; prepare {what}; echo prepared"]
    env = {"PATH": "/usr/bin:/bin", "PYTHON": python, "HOME": str(project)}
    return subprocess.run(script, cwd=project, env=env, capture_output=True, text=True, timeout=60)


def test_a_machine_without_python_is_told_what_is_needed(project: Path) -> None:
    done = prepare(project, "no-such-python")
    assert done.returncode == 2
    assert "needs Python 3.11 or later and found none" in done.stderr


def test_a_python_that_is_too_old_is_named(project: Path) -> None:
    old = program(project, "old-python", "exit 1")
    done = prepare(project, str(old))
    assert done.returncode == 2
    assert str(old) in done.stderr


def test_a_python_without_venv_comes_with_its_remedy(project: Path) -> None:
    bare = program(project, "bare-python", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    done = prepare(project, str(bare))
    assert done.returncode == 2
    assert "apt-get install python3-venv" in done.stderr
    assert not (project / ".venv").exists()


def test_a_folder_in_the_way_is_left_alone(project: Path) -> None:
    (project / ".venv").mkdir()
    (project / ".venv/mine").touch()
    done = prepare(project, str(program(project, "python", "")))
    assert done.returncode == 2
    assert "move it away" in done.stderr
    assert (project / ".venv/mine").exists()


def test_an_environment_is_made_once_and_used_again_until_the_project_or_its_lock_changes(project: Path) -> None:
    python = stand_in(project)
    assert prepare(project, python).stdout.endswith("prepared\n")
    assert "Using the environment" in prepare(project, python).stdout
    assert (project / "calls").read_text().count("-m venv") == 1
    (project / "pyproject.toml").write_text("# changed\n")
    assert "Installing" in prepare(project, python).stdout
    (project / "tools/locked/run.txt").write_text("# changed\n")
    assert "Installing" in prepare(project, python).stdout
    assert (project / "calls").read_text().count("-m venv --clear") == 3


def test_exactly_what_the_lock_names_is_installed_and_nothing_that_pip_finds_besides(project: Path) -> None:
    prepare(project, stand_in(project), "test")
    first, second = [call for call in (project / "calls").read_text().splitlines() if "pip install" in call]
    assert "--require-hashes --requirement tools/locked/test.txt" in first
    assert "--no-deps --no-build-isolation --editable ." in second


def test_what_pip_says_of_the_machine_fills_a_file_and_not_the_screen(project: Path) -> None:
    done = prepare(project, stand_in(project, "echo 'WARNING: this machine' >&2"))
    assert done.returncode == 0
    assert "WARNING" not in done.stdout + done.stderr
    assert "WARNING: this machine" in (project / ".venv/install.log").read_text()


def test_what_pip_said_is_shown_where_it_failed_for_good(project: Path) -> None:
    done = prepare(project, stand_in(project, "echo 'no such package' >&2; exit 1"))
    assert done.returncode == 2
    assert "no such package" in done.stderr
    assert "is there a network" in done.stderr
    assert not list(project.glob(".venv/.ready-*"))
    assert (project / "calls").read_text().count("pip install") == 3


def locked(name: str) -> dict[str, Version]:
    """The versions of a lock, by the name of their package."""
    lines = (sources.ROOT / "tools/locked" / name).read_text().splitlines()
    found = [re.match(r"([a-z0-9-]+)==(\S+)", line) for line in lines]
    return {match[1]: Version(match[2]) for match in found if match}


def test_the_lock_holds_all_that_the_project_asks_for_within_its_ranges() -> None:
    project = tomllib.loads((sources.ROOT / "pyproject.toml").read_text())
    run, test = locked("run.txt"), locked("test.txt")
    built = project["build-system"]["requires"]
    for text in [*project["project"]["dependencies"], *built]:
        wanted = Requirement(text)
        assert run[canonicalize_name(wanted.name)] in wanted.specifier, f"{text}: run tools/lock"
    extras = project["project"]["optional-dependencies"]
    for text in [*extras["test"], *extras["otlp"]]:
        wanted = Requirement(text)
        if wanted.name == project["project"]["name"]:
            assert wanted.extras <= extras.keys()
            continue
        assert test[canonicalize_name(wanted.name)] in wanted.specifier, f"{text}: run tools/lock"
    assert run.items() <= test.items()


@pytest.mark.parametrize("name", ["run.txt", "test.txt"])
def test_each_package_of_a_lock_comes_with_hashes_and_names_no_place(name: str) -> None:
    text = (sources.ROOT / "tools/locked" / name).read_text()
    entries = re.split(r"\n(?=\S)", text)
    assert [entry.splitlines()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry] == []
    assert "://" not in text
