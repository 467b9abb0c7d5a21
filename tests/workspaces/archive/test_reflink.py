"""A file system that can share blocks: a file that somebody writes to by a mapping is kept as it was at one moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from maestro.workspaces.archive.library import Archive
from tests.workspaces.archive.test_mapped import tree_in

PAGE = 4096
SIZE = 600 * PAGE
WRITER = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    content = mmap.mmap(file.fileno(), 0)
number, size = 0, len(content)
while True:
    number = number % 200 + 1
    page = bytes([number]) * 4096
    for at in range(0, size, 4096):
        content[at : at + 4096] = page
    if number == 1: print("mapped", flush=True)
"""
"""Fills a file over and over, one page after the other: what comes later in it is never newer."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """A folder on XFS, made for this test alone; where that cannot be had, any folder, and False."""
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    mounted = False
    if os.geteuid() == 0 and shutil.which("mkfs.xfs") is not None:
        with image.open("wb") as file:
            file.truncate(400 << 20)
        subprocess.run(["mkfs.xfs", "-q", str(image)], check=True, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=False, capture_output=True)
        mounted = done.returncode == 0
    yield folder, mounted
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def writer(path: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def is_of_one_moment(content: bytes) -> bool:
    """Whether there is one place at most, within a page or between two, where the writer was."""
    pages = [set(content[at : at + PAGE]) for at in range(0, len(content), PAGE)]
    mixed = [page for page in pages if len(page) > 1]
    whole = [page for page in pages if len(page) == 1]
    changes = sum(one != other for one, other in pairwise(whole))
    return len(content) > 0 and len(mixed) <= 1 and changes <= 1


def test_the_check_itself_sees_what_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tree_in(tmp_path, SIZE) / "inner/mapped\nfile"
    with writer(path):
        seen = []
        for _ in range(50):
            with path.open("rb", buffering=0) as file:
                parts = []
                while part := file.read(8 * PAGE):
                    parts.append(part)
                    time.sleep(0.0001)
            seen.append(is_of_one_moment(b"".join(parts)))
    assert not all(seen)


def test_what_is_mapped_is_kept_as_it_was_at_one_moment_or_is_torn(place: tuple[Path, bool], tmp_path: Path) -> None:
    folder, shares_blocks = place
    tree = tree_in(folder, SIZE)
    archive = Archive(tmp_path / "store")
    with writer(tree / "inner/mapped\nfile"):
        for number in range(5):
            saved = archive.save([("ws", str(tree))], f"n{number}", {}, allow_torn=True)
            assert saved.torn == ([] if shares_blocks else ["ws/inner/mapped\\nfile"])
            archive.restore(f"n{number}", "ws", tmp_path / f"back{number}")
            content = (tmp_path / f"back{number}/inner/mapped\nfile").read_bytes()
            assert len(content) == SIZE and (is_of_one_moment(content) or not shares_blocks)
    assert os.listdir(tree / "inner") == ["mapped\nfile"], "the copy leaves no name"


def test_of_a_sparse_and_a_linked_file_too(place: tuple[Path, bool], tmp_path: Path) -> None:
    folder, shares_blocks = place
    tree = tree_in(folder, SIZE)
    path = tree / "inner/mapped\nfile"
    path.write_bytes(b"begin")
    os.truncate(path, 8 * SIZE)
    os.link(path, tree / "another name")
    archive = Archive(tmp_path / "store")
    with writer(path):
        saved = archive.save([("ws", str(tree))], "one", {}, allow_torn=True)
        assert bool(saved.torn) != shares_blocks
    archive.restore("one", "ws", tmp_path / "back")
    content = (tmp_path / "back/another name").read_bytes()
    assert len(content) == 8 * SIZE and (is_of_one_moment(content) or not shares_blocks)
    assert (tmp_path / "back/another name").samefile(tmp_path / "back/inner/mapped\nfile")
