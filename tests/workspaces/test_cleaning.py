"""Cleaning: what has expired goes, what a user named stays, and no link leads removal elsewhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from maestro.model.errors import Refused
from maestro.workspaces import cleaning, folders

DAY = 86_400


def run_folder(root: Path, agent: str, task: str, days_ago: float) -> folders.RunFolder:
    folder = folders.place(root, agent, task, 1)
    folders.create(folder, b"p")
    then = time.time() - days_ago * DAY
    for path in (folder.log, folder.attempt_path, os.path.dirname(folder.attempt_path), folder.path):
        os.utime(path, (then, then))
    return folder


def test_run_folders_expire_by_their_last_attempt(tmp_path: Path) -> None:
    run_folder(tmp_path, "a", "old", 9)
    run_folder(tmp_path, "a", "older", 30)
    run_folder(tmp_path, "b", "young", 1)
    found = cleaning.expired_runs(tmp_path, 7)
    assert [(run.agent, run.task, round(run.age_days)) for run in found] == [("a", "older", 30), ("a", "old", 9)]
    assert cleaning.clean_expired(tmp_path, 7, busy=frozenset({"old"})) == [str(tmp_path / "a/older")]
    assert sorted(os.listdir(tmp_path / "a")) == [folders.MARK, "old"]


def test_what_is_no_folder_of_runs_is_never_removed(tmp_path: Path) -> None:
    for path in ("backend/src", "a/b/c"):
        (tmp_path / path).mkdir(parents=True)
        os.utime(tmp_path / path, (0, 0))
        os.utime((tmp_path / path).parent, (0, 0))
    run_folder(tmp_path, "runs", "old", 9)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert cleaning.clean_expired(tmp_path, 7) == [str(tmp_path / "runs/old")]
    assert (tmp_path / "backend/src").is_dir()
    assert (tmp_path / "a/b/c").is_dir()
    with pytest.raises(Refused, match="no folder of runs"):
        cleaning.remove_run(tmp_path, "backend", "src")


def test_a_run_folder_with_work_in_its_workspace_is_kept(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "a", "worked", 9)
    os.mkdir(folder.workspace)
    os.utime(folder.path, (0, 0))
    assert not cleaning.expired_runs(tmp_path, 7)[0].filled
    Path(folder.workspace, "result").write_text("work")
    assert cleaning.expired_runs(tmp_path, 7)[0].filled
    assert cleaning.clean_expired(tmp_path, 7) == []
    cleaning.remove_run(tmp_path, "a", "worked")
    assert not os.path.exists(folder.path)


def test_an_absent_root_has_nothing_to_clean(tmp_path: Path) -> None:
    assert cleaning.clean_expired(tmp_path / "nowhere", 7) == []


def test_a_workspace_is_emptied_and_the_folder_stays_with_its_mode(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    (workspace / "a/b/c").mkdir(parents=True)
    (workspace / "a/b/c/file").write_text("x")
    (workspace / ".hidden").write_text("x")
    os.mkfifo(workspace / "pipe")
    workspace.chmod(0o750)
    before = workspace.stat().st_ino
    cleaning.clean(workspace)
    assert os.listdir(workspace) == []
    assert (workspace.stat().st_ino, workspace.stat().st_mode & 0o777) == (before, 0o750)


def test_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "keep").write_text("x")
    workspace = tmp_path / "ws"
    (workspace / "sub/inner").mkdir(parents=True)
    for place in ("link", "sub/link", "sub/inner/link"):
        (workspace / place).symlink_to(victim)
    cleaning.clean(workspace)
    assert os.listdir(workspace) == []
    (tmp_path / "ws-link").symlink_to(victim)
    with pytest.raises(Refused):
        cleaning.clean(tmp_path / "ws-link")
    cleaning.remove_tree(tmp_path / "ws-link")
    assert (victim / "keep").read_text() == "x"


def test_folders_that_were_left_unwritable_are_removed_too(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    (workspace / "a/b/c").mkdir(parents=True)
    (workspace / "a/b/c/file").write_text("x")
    for place in ("a/b/c", "a/b", "a"):
        (workspace / place).chmod(0)
    cleaning.clean(workspace)
    assert os.listdir(workspace) == []


def test_a_tree_deeper_than_any_path_is_removed_without_recursion(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    here = os.open(workspace, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    cleaning.remove_tree(workspace)
    assert not workspace.exists()


def test_a_wide_tree_is_removed(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"ws/{number}/x/y").mkdir(parents=True)
        (tmp_path / f"ws/{number}/x/file").write_text("")
    cleaning.remove_tree(tmp_path / "ws")
    assert os.listdir(tmp_path) == []


def test_names_with_anything_in_them_are_removed(tmp_path: Path) -> None:
    workspace = os.fsencode(tmp_path / "ws")
    os.mkdir(workspace)
    for name in (b"new\nline", b"\xff\xfe", b"-rf", "\u202eright".encode(), b"x" * 255):
        os.mkdir(workspace + b"/" + name)
        with open(workspace + b"/" + name + b"/" + name, "w"):
            pass
    cleaning.clean(tmp_path / "ws")
    assert os.listdir(workspace) == []


def test_an_absent_tree_is_fine_and_a_missing_workspace_is_told(tmp_path: Path) -> None:
    cleaning.remove_tree(tmp_path / "nowhere")
    with pytest.raises(Refused, match="cannot be cleared"):
        cleaning.clean(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused):
        cleaning.clean(tmp_path / "file")


def test_a_disk_with_too_little_room_is_warned_of(tmp_path: Path) -> None:
    assert cleaning.disk_warning(tmp_path / "not/yet/there", 0) is None
    warning = cleaning.disk_warning(tmp_path, 10_000_000)
    assert warning is not None
    assert "less than 10 GB for each of 10000000" in warning
