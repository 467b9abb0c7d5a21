"""The lock files of workspaces: those that nobody has used for long go, and a workspace has one holder all the same."""

from __future__ import annotations

import os
import time
from pathlib import Path

from maestro.runtime.supervision.processes import boot_id
from maestro.runtime.supervision.workspace_lock import Holder, ProcessIdentity, WorkspaceLock, remove_idle

BOOT = boot_id()


def lock_of(path: Path) -> WorkspaceLock:
    return WorkspaceLock(str(path), float("inf"))


def test_only_what_is_old_free_and_done_with_is_removed(tmp_path: Path) -> None:
    for name in ("old", "new", "held", "unended"):
        lock = lock_of(tmp_path / f"{name}.lock")
        assert lock.take(BOOT)
        if name != "unended":
            lock.release(ours=True)
    held = lock_of(tmp_path / "held.lock")
    assert held.take(BOOT)
    left = lock_of(tmp_path / "left.lock")
    gone = ProcessIdentity(0, 0)
    left.record(Holder("t1-0.1", "/h", BOOT, gone, gone))
    left.release(ours=False)
    (tmp_path / "other").touch()
    for name in ("old.lock", "held.lock", "unended.lock", "left.lock", "other"):
        os.utime(tmp_path / name, (1, 1))
    assert remove_idle(str(tmp_path), time.time() - 60) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("held.lock", "left.lock", "new.lock", "other", "unended.lock")
    ]


def test_who_waits_for_a_lock_whose_file_is_removed_takes_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    waits = lock_of(path)
    assert remove_idle(str(tmp_path), time.time() + 60) == 1
    other = lock_of(path)
    assert other.take(BOOT)
    assert not waits.take(BOOT) and not waits.take(BOOT)
    other.release(ours=True)
    assert waits.take(BOOT)
