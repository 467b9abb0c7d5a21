"""What a restore would lose though the workspace is in git: told apart by git, which executes nothing there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from maestro.workspaces.untracked import unrecoverable


def git(folder: Path, *words: str) -> None:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *named, *words], cwd=folder, check=True, capture_output=True)


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("*.log\nbuild/\n")
    (folder / "kept.py").write_text("x")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    (folder / "new.py").write_text("x")
    (folder / "out.log").write_text("x")
    (folder / "build").mkdir()
    (folder / "build/made").write_text("x")
    return folder


def test_untracked_and_ignored_files_are_told_from_those_that_git_has(tmp_path: Path) -> None:
    repository(tmp_path / "ws")
    found = unrecoverable(tmp_path / "ws", ["kept.py", "new.py", "out.log", "build/made", ".git/index"])
    assert (found.untracked, found.ignored, found.unknown) == (["new.py"], ["out.log", "build/made"], [])


def test_nested_repositories_and_files_outside_of_any_are_looked_at_each_for_itself(tmp_path: Path) -> None:
    repository(tmp_path / "ws" / "deep" / "one")
    repository(tmp_path / "ws" / "two")
    paths = ["loose", "deep/one/new.py", "deep/one/kept.py", "two/out.log", "two/.git/HEAD"]
    found = unrecoverable(tmp_path / "ws", paths)
    assert found.untracked == ["deep/one/new.py"]
    assert found.ignored == ["two/out.log"]
    assert found.unknown == ["loose"]


def test_a_damaged_repository_leaves_its_files_unknown(tmp_path: Path) -> None:
    (repository(tmp_path / "ws") / ".git/HEAD").write_text("nonsense")
    assert unrecoverable(tmp_path / "ws", ["new.py"]).unknown == ["new.py"]


def test_a_hostile_repository_executes_nothing(tmp_path: Path) -> None:
    ws = repository(tmp_path / "ws")
    struck = tmp_path / "struck"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {struck}\ncat\n")
    trap.chmod(0o755)
    for hook in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        os.symlink(trap, ws / ".git/hooks" / hook)
    keys = ("core.fsmonitor", "core.sshCommand", "core.pager", "filter.x.clean", "filter.x.process", "diff.external")
    for key in keys:
        git(ws, "config", key, str(trap))
    git(ws, "config", "extensions.partialClone", "origin")
    git(ws, "config", "remote.origin.url", f"ext::{trap}")
    git(ws, "config", "remote.origin.promisor", "true")
    (ws / ".gitattributes").write_text("* filter=x\n")
    (ws / "kept.py").write_text("changed")
    struck.unlink(missing_ok=True)  # what set the traps may have sprung one
    assert unrecoverable(ws, ["new.py", "kept.py"]).untracked == ["new.py"]
    assert not struck.exists()
