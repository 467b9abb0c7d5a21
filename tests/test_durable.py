"""Small files are replaced whole or not at all, and locks are held by one process at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maestro import durable


def test_a_file_is_replaced_with_its_owner_s_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for content, shared in ((b"one", False), (b"two", True), (b"", False)):
        durable.replace(path, content, durable=not shared, shared=shared)
        assert path.read_bytes() == content and path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir()] == ["journal"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    durable.replace(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(os, "fsync", full)
        durable.replace(path, b"new")
    assert path.read_bytes() == b"old" and [each.name for each in tmp_path.iterdir()] == ["journal"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"kept")
    (tmp_path / "journal.fresh").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError) as refused:
        durable.replace(tmp_path / "journal", b"new")
    assert refused.value.errno == errno.ELOOP
    assert (tmp_path / "precious").read_bytes() == b"kept"


def test_a_lock_is_one_process_s_until_that_ends(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from maestro import durable\n"
    code += "print(durable.lock_file(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert int(other.stdout.readline()) > 2
        assert durable.lock_file(tmp_path / "lock") is None
        with (tmp_path / "lock").open() as file:
            assert not durable.try_lock(file.fileno(), shared=True)
        durable.remove_unlocked(tmp_path / "lock")
        assert (tmp_path / "lock").exists(), "its lock is held"
        other.stdin.close()
    (tmp_path / "link").symlink_to(tmp_path / "lock")
    durable.remove_unlocked(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    mine = durable.lock_file(tmp_path / "lock")
    assert mine is not None
    os.close(mine)
    durable.remove_unlocked(tmp_path / "lock")
    durable.remove_unlocked(tmp_path / "lock")  # doing it again is harmless
    assert not (tmp_path / "lock").exists()
