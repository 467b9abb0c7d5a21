"""The door through which files of archives, exports, segments and journals come: regular ones, of a bounded size."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from maestro import files

KINDS = ("link", "dangling", "pipe", "device", "folder", "socket")


def put(path: Path, kind: str) -> None:
    """Something that is no regular file."""
    if kind == "link":
        path.with_name("target").write_bytes(b"x")
        path.symlink_to("target")
    elif kind == "dangling":
        path.symlink_to("/no/such")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))


def test_a_regular_file_comes_in_whole_and_no_larger_than_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    assert files.content(tmp_path / "f", 7) == b"content"
    with pytest.raises(OSError, match="7 bytes, more than 6"):
        files.content(tmp_path / "f", 6)
    with files.opened(tmp_path / "f") as file:
        assert file.read() == b"content"
    with pytest.raises(FileNotFoundError):
        files.content(tmp_path / "none", 7)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_comes_in_or_is_waited_for(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "x", kind)
    with pytest.raises(files.NoFile, match="no regular file"):
        files.content(tmp_path / "x", 100)
    with pytest.raises(files.NoFile, match="no regular file"):
        files.check_plain(tmp_path) if kind != "folder" else files.handle(tmp_path / "x")


def test_a_person_may_name_a_link_but_what_it_leads_to_is_a_file(tmp_path: Path) -> None:
    put(tmp_path / "x", "link")
    with files.opened(tmp_path / "x", follow=True) as file:
        assert file.read() == b"x"
    put(tmp_path / "zero", "device")
    with pytest.raises(files.NoFile, match="a device"):
        files.opened(tmp_path / "zero", follow=True)


def test_a_file_of_the_kernel_that_never_ends_is_read_as_far_as_it_says_that_it_is_long() -> None:
    """In a process of its own: a read that waits cannot be ended here."""
    code = "from maestro import files\ntry: print(files.content('/proc/kmsg', 100))\nexcept OSError: print(b'')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "b''\n", done.stderr
