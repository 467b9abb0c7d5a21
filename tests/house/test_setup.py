"""Setting up on a machine that lacks something: one line says what, and nothing is half done."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house import sources


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what the set-up reads."""
    (tmp_path / "tools").mkdir()
    shutil.copy(sources.ROOT / "tools/environment.sh", tmp_path / "tools")
    shutil.copy(sources.ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def program(folder: Path, name: str, body: str) -> Path:
    """A shell script that can be run."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def prepare(project: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Source the set-up with this Python, and prepare to run."""
    script = ["sh", "-c", ". tools/environment.sh; prepare run; echo prepared"]
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


def test_an_environment_is_made_once_and_used_again_until_the_project_changes(project: Path) -> None:
    made = 'if [ "$2" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python && touch .venv/pyvenv.cfg; fi'
    python = program(project, "python", f'echo "$@" >>calls; {made}')
    assert prepare(project, str(python)).stdout.endswith("prepared\n")
    calls = (project / "calls").read_text()
    assert "-m pip install" in calls
    assert "Using the environment" in prepare(project, str(python)).stdout
    assert (project / "calls").read_text().count("pip install") == 1
    (project / "pyproject.toml").write_text("# changed\n")
    assert "Installing" in prepare(project, str(python)).stdout
