"""Files that a step leaves to later ones: what an agent can put in the way of reading and writing them."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import BlobRef
from maestro.workspaces import step_files
from maestro.workspaces.step_files import FILE_BYTES_MAX, bring, capture


class Blobs:
    """A store of contents; `during` is called as each is put."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.during: Callable[[], object] = lambda: None

    def put(self, data: bytes) -> str:
        self.during()
        name = hashlib.sha256(data).hexdigest()
        self.kept[name] = data
        return name


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A workspace with something to leave, and a secret beside it."""
    (tmp_path / "secret").write_text("not yours")
    place = tmp_path / "here"
    (place / "dist/sub").mkdir(parents=True)
    (place / "dist/a.js").write_text("a")
    (place / "dist/sub/run.sh").write_text("#!/bin/sh\n")
    (place / "dist/sub/run.sh").chmod(0o755)
    (place / "other").write_text("o")
    return place


def refused(place: Path, blobs: Blobs, *patterns: str) -> str:
    with pytest.raises(Refused) as told:
        capture(str(place), patterns, blobs.put)
    return told.value.line()


def test_what_a_step_leaves_comes_to_another_workspace(here: Path, tmp_path: Path, blobs: Blobs) -> None:
    files = capture(str(here), ["dist/**"], blobs.put)
    assert list(files) == ["dist/a.js", "dist/sub/run.sh"]
    assert [files[path].executable for path in files] == [False, True]
    there = tmp_path / "there"
    (there / "dist").mkdir(parents=True)
    (there / "dist/a.js").write_text("an older one")
    bring(str(there), files, blobs.kept.get)
    assert (there / "dist/a.js").read_text() == "a"
    assert os.access(there / "dist/sub/run.sh", os.X_OK) and not os.access(there / "dist/a.js", os.X_OK)
    assert sorted(os.listdir(there / "dist")) == ["a.js", "sub"]
    bring(str(there), files, blobs.kept.get)
    assert capture(str(there), ["dist"], blobs.put) == files


def test_a_pattern_without_a_file_fails_and_is_named(here: Path, blobs: Blobs) -> None:
    (here / "empty").mkdir()
    assert "'build/**'" in refused(here, blobs, "dist/**", "build/**")
    assert "'empty'" in refused(here, blobs, "empty")
    with pytest.raises(Invalid):
        capture(str(here), ["../secret"], blobs.put)


@pytest.mark.parametrize("target", ["../secret", "a.js", "nowhere", "/etc/passwd"])
def test_a_link_that_matches_is_named_and_not_followed(here: Path, blobs: Blobs, target: str) -> None:
    (here / "dist/link").symlink_to(target)
    assert "'dist/link' is a link" in refused(here, blobs, "dist/**")
    assert b"not yours" not in blobs.kept.values()


def test_a_link_on_the_way_is_named_and_not_followed(here: Path, blobs: Blobs) -> None:
    (here / "out").symlink_to("..")
    assert "'out' is a link" in refused(here, blobs, "out/secret")
    assert "'out' is a link" in refused(here, blobs, "*/secret")
    assert not blobs.kept


def test_links_that_nobody_asked_for_are_not_in_the_way(here: Path, blobs: Blobs) -> None:
    (here / "bin").symlink_to("/usr/bin")
    (here / "dist/link.css").symlink_to("/etc/passwd")
    assert list(capture(str(here), ["dist/*.js"], blobs.put)) == ["dist/a.js"]


def test_a_workspace_that_is_a_link_is_refused(here: Path, tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "link").symlink_to(here)
    refused(tmp_path / "link", blobs, "dist/**")
    with pytest.raises(Refused):
        bring(str(tmp_path / "link"), {"x": BlobRef(blobs.put(b"x"), 1)}, blobs.kept.get)


def test_what_is_no_regular_file_is_named_and_hangs_nobody(here: Path, blobs: Blobs) -> None:
    os.mkfifo(here / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(here / "socket"))
        for name in ("pipe", "socket"):
            assert f"'{name}' is no regular file" in refused(here, blobs, name)


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(here: Path, blobs: Blobs) -> None:
    def swap() -> None:
        if (here / "dist/sub").is_dir() and not (here / "dist/sub").is_symlink():
            (here / "dist/sub").rename(here / "aside")
            (here / "dist/sub").symlink_to("../..")

    blobs.during = swap
    refused(here, blobs, "dist/**")
    assert b"not yours" not in blobs.kept.values()


@pytest.mark.parametrize("name", ["a.js", "sub"])
def test_what_becomes_a_link_behind_the_look_at_it_is_not_followed(
    here: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    look = os.stat

    def swapped(path: str, **how: Any) -> os.stat_result:
        found = look(path, **how)
        if path == name:
            (here / "dist" / name).rename(here / "aside")
            (here / "dist" / name).symlink_to(here.parent / "secret" if name == "a.js" else here.parent)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(step_files.os, "stat", swapped)
        line = refused(here, blobs, "dist/**")
    assert "a link" in line and b"not yours" not in blobs.kept.values()


def test_links_that_are_swapped_all_the_time_lead_nowhere(here: Path, blobs: Blobs) -> None:
    """A file and a folder take turns with links to what lies outside, while they are read."""
    (here / "dist/secret").write_text("mine")
    (here / "f").symlink_to("../../secret")
    (here / "d").symlink_to("../..")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for a, b in (("dist/secret", "f"), ("dist/sub", "d")):
                for source, to in ((a, "t"), (b, a), ("t", b)):
                    os.rename(here / source, here / to)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(100):
            try:
                capture(str(here), ["dist/**", "**/secret"], blobs.put)
            except MaestroError:
                continue
    finally:
        done.set()
        swapping.join()
    assert b"not yours" not in blobs.kept.values()


def test_a_file_that_changes_while_it_is_read_is_none(
    here: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.read

    def growing(handle: int, count: int) -> bytes:
        with (here / "dist/a.js").open("a") as file:
            file.write("x" * (1 << 20))
        return read(handle, count)

    monkeypatch.setattr(step_files.os, "read", growing)
    assert "'dist/a.js'" in refused(here, blobs, "dist/**")


def test_what_is_too_large_is_named(here: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    with (here / "dist/big").open("wb") as file:
        file.truncate(FILE_BYTES_MAX)
    assert capture(str(here), ["dist/big"], blobs.put)["dist/big"].size == FILE_BYTES_MAX
    with (here / "dist/big").open("wb") as file:
        file.truncate(1 << 40)
    assert "'dist/big' has more than 8 MiB" in refused(here, blobs, "dist/**")
    (here / "dist/big").unlink()
    monkeypatch.setattr(step_files, "ALL_BYTES_MAX", 5)
    assert "'dist/sub/run.sh'" in refused(here, blobs, "dist/**")
    monkeypatch.setattr(step_files, "FILES_MAX", 1)
    assert "more than 1 files" in refused(here, blobs, "dist/**")


def test_a_name_that_is_no_utf_8_is_named_only_where_it_matches(here: Path, blobs: Blobs) -> None:
    Path(os.fsdecode(os.fsencode(here) + b"/dist/\xff")).write_text("x")
    line = refused(here, blobs, "dist/**")
    assert "no UTF-8" in line and line.encode()
    assert capture(str(here), ["dist/*.js"], blobs.put)


def test_a_folder_without_end_is_refused(here: Path, blobs: Blobs) -> None:
    handle = os.open(here, os.O_RDONLY)
    for _ in range(step_files.DEPTH_MAX + 5):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    assert "folders deep" in refused(here, blobs, "**/nothing")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", "a//x", "./x", "a/.", "a\0b"])
def test_nothing_is_brought_outside(here: Path, blobs: Blobs, path: str) -> None:
    with pytest.raises(Invalid):
        bring(str(here), {path: BlobRef(blobs.put(b"x"), 1)}, blobs.kept.get)


def test_nothing_is_brought_through_a_link_or_over_what_is_no_file(here: Path, blobs: Blobs) -> None:
    (here / "out").symlink_to("..")
    (here / "file").symlink_to("../secret")
    os.mkfifo(here / "pipe")
    for path in ("out/secret", "file", "pipe", "dist", "other/below"):
        with pytest.raises(Refused) as told:
            bring(str(here), {path: BlobRef(blobs.put(b"x"), 1)}, blobs.kept.get)
        assert path in told.value.line()
    assert (here.parent / "secret").read_text() == "not yours"
    assert (here / "other").read_text() == "o"


def test_a_content_that_is_gone_is_named(here: Path, blobs: Blobs) -> None:
    with pytest.raises(NotFound) as told:
        bring(str(here), {"dist/a.js": BlobRef("0" * 64, 1)}, blobs.kept.get)
    assert "'dist/a.js'" in told.value.line()
    assert (here / "dist/a.js").read_text() == "a"


def test_a_full_disk_leaves_the_old_file(here: Path, blobs: Blobs) -> None:
    big = {"dist/a.js": BlobRef(blobs.put(b"x" * 4096), 4096)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(Refused):
            bring(str(here), big, blobs.kept.get)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (here / "dist/a.js").read_text() == "a" and len(os.listdir(here / "dist")) == 2


def test_what_a_killed_process_left_half_is_replaced(here: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"dist/a.js": BlobRef(blobs.put(b"new"), 3)}

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(step_files.os, "rename", killed)
        patched.setattr(step_files.os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            bring(str(here), files, blobs.kept.get)
    bring(str(here), files, blobs.kept.get)
    assert (here / "dist/a.js").read_text() == "new"
    assert sorted(os.listdir(here / "dist")) == ["a.js", "sub"]
