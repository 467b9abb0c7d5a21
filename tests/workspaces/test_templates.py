"""Templates: a workspace is filled whole or not at all, only when it is absent or empty, and from inside only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maestro.model.errors import Refused
from maestro.workspaces.cleaning import remove_tree
from maestro.workspaces.templates import fill


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    (folder / "src/deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "src/run.sh").write_text("#!/bin/sh\n")
    (folder / "src/run.sh").chmod(0o4755)
    (folder / "src/deep/data").write_bytes(os.urandom(3_000_000))
    (folder / "link").symlink_to("src/run.sh")
    (folder / "odd \n\u202ename").write_text("odd")
    os.utime(folder / "src/run.sh", ns=(1_000_000_007, 1_000_000_009))
    (folder / "src/deep").chmod(0o500)
    return folder


def test_the_copy_has_modes_times_links_and_odd_names(template: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "above/ws"
    assert fill(workspace, str(template))
    assert (workspace / "src/deep/data").read_bytes() == (template / "src/deep/data").read_bytes()
    assert (workspace / "src/run.sh").stat().st_mode & 0o7777 == 0o755, "no set-id bits"
    assert (workspace / "src/run.sh").stat().st_mtime_ns == 1_000_000_009
    assert (workspace / "src/deep").stat().st_mode & 0o777 == 0o500
    assert os.readlink(workspace / "link") == "src/run.sh"
    assert (workspace / "odd \n\u202ename").read_text() == "odd"
    assert (workspace / "empty").is_dir()
    assert workspace.stat().st_mode & 0o777 == 0o700
    assert os.listdir(workspace.parent) == ["ws"]


def test_an_empty_workspace_is_filled_and_a_filled_one_is_left_alone(template: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir(mode=0o750)
    assert fill(workspace, str(template))
    assert workspace.stat().st_mode & 0o777 == 0o750
    (workspace / "link").unlink()
    assert not fill(workspace, str(template))
    assert not (workspace / "link").exists()


def test_without_a_template_the_folder_is_made_private(tmp_path: Path) -> None:
    assert fill(tmp_path / "a/b")
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "src/../../outside", "way-out/x"])
def test_a_link_that_leaves_the_template_is_refused_and_nothing_is_left(
    template: Path, tmp_path: Path, target: str
) -> None:
    (template / "src/way-out").symlink_to("../..")
    (template / "src/evil").symlink_to(target)
    with pytest.raises(Refused, match="leaves the template"):
        fill(tmp_path / "ws", str(template))
    assert sorted(os.listdir(tmp_path)) == ["template"]


def test_what_is_no_file_is_refused(template: Path, tmp_path: Path) -> None:
    os.mkfifo(template / "pipe")
    with pytest.raises(Refused, match="neither a file, a folder nor a link"):
        fill(tmp_path / "ws", str(template))
    assert sorted(os.listdir(tmp_path)) == ["template"]


def test_a_template_is_not_copied_into_itself(template: Path) -> None:
    with pytest.raises(Refused, match="into itself"):
        fill(template / "ws", str(template))


def test_a_workspace_that_is_a_file_or_a_link_is_refused(template: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("template")
    for name in ("file", "link", "file/below"):
        with pytest.raises(Refused):
            fill(tmp_path / name, str(template))


def test_a_template_that_is_gone_is_refused_and_no_workspace_is_made(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="workspace_template"):
        fill(tmp_path / "ws", str(tmp_path / "nowhere"))
    assert os.listdir(tmp_path) == []


def test_a_template_of_many_levels_is_copied_without_recursion(tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1200)
    try:
        for level in range(0, len(deep) + 1, 2):
            os.makedirs(f"{tmp_path}/template/{deep[: level + 1]}", exist_ok=True)
        (tmp_path / "template" / deep / "leaf").write_text("x")
        fill(tmp_path / "ws", str(tmp_path / "template"))
        assert (tmp_path / "ws" / deep / "leaf").read_text() == "x"
    finally:  # what pytest keeps of it would be too deep for its own clean-up
        remove_tree(tmp_path / "template")
        remove_tree(tmp_path / "ws")
