"""Run folders: private, complete, and never reached through a link or somebody else's folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from maestro.model.errors import Invalid, Refused
from maestro.workspaces import folders
from maestro.workspaces.folders import create, place, put_file, recorded


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_a_run_folder_is_private_and_holds_prompt_temp_and_log(tmp_path: Path) -> None:
    folder = place(tmp_path / "root", "a", "t1", 1)
    create(folder, b"- [ ] x\0\xff")
    for path in (folder.root, folder.path, folder.tmp, folder.attempt_path):
        assert mode(path) == 0o700
    for path in (folder.prompt_file, folder.log):
        assert mode(path) == 0o600
    assert Path(folder.prompt_file).read_bytes() == b"- [ ] x\0\xff"
    assert os.listdir(folder.tmp) == []
    assert sorted(os.listdir(folder.path)) == ["agent.log", "attempts", "prompt.txt", "tmp"]


def test_agent_log_is_that_of_the_latest_attempt_and_all_are_kept(tmp_path: Path) -> None:
    for attempt in (1, 2):
        folder = place(tmp_path, "a", "t1", attempt)
        create(folder, b"p")
        Path(folder.log).write_text(f"attempt {attempt}")
        assert Path(folder.path, "agent.log").read_text() == f"attempt {attempt}"
        assert not Path(folder.path, "agent.log").readlink().is_absolute()
    assert Path(place(tmp_path, "a", "t1", 1).log).read_text() == "attempt 1"


def test_making_a_folder_again_keeps_its_log_and_renews_the_prompt(tmp_path: Path) -> None:
    folder = place(tmp_path, "a", "t1", 1)
    create(folder, b"first")
    Path(folder.log).write_text("said")
    create(folder, b"second")
    assert Path(folder.log).read_text() == "said"
    assert Path(folder.prompt_file).read_bytes() == b"second"


def test_a_prompt_of_10_mb_is_written_whole(tmp_path: Path) -> None:
    folder = place(tmp_path, "a", "t1", 1)
    create(folder, b"x" * 10_000_000)
    assert os.path.getsize(folder.prompt_file) == 10_000_000


def test_a_folder_is_found_again_by_the_path_of_its_attempt(tmp_path: Path) -> None:
    folder = place(tmp_path / "attempts" / "1", "a", "t1", 12)
    assert recorded(folder.attempt_path) == folder


@pytest.mark.parametrize("path", ["", "/r/a/t", "/r/a/t/attempts/x", "a/t/attempts/1", "/r/../t/attempts/1"])
def test_a_path_that_is_no_folder_of_an_attempt_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        recorded(path)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\nb", "-x", "a\0", "x" * 65, ".hidden"])
def test_ids_that_are_no_names_never_become_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        place(tmp_path, name, "t1", 1)
    with pytest.raises(Invalid):
        place(tmp_path, "a", name, 1)


def test_a_root_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    with pytest.raises(Refused, match="is a symlink"):
        create(place(tmp_path / "root", "a", "t1", 1), b"p")
    assert os.listdir(tmp_path / "real") == []


def test_a_root_or_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        with pytest.raises((Refused, Invalid)):
            create(place("/usr", "a", "t1", 1), b"p")
        return
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    with pytest.raises(Refused, match="owned by another user"):
        create(place(theirs, "a", "t1", 1), b"p")
    (tmp_path / "root/a").mkdir(parents=True)
    os.chown(tmp_path / "root/a", 12345, 12345)
    with pytest.raises(Refused, match="owned by another user"):
        create(place(tmp_path / "root", "a", "t1", 1), b"p")


@pytest.mark.parametrize("level", ["a", "a/t1", "a/t1/attempts", "a/t1/attempts/1", "a/t1/tmp"])
def test_no_level_is_reached_through_a_link(tmp_path: Path, level: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    create(place(root, "a", "t0", 1), b"p")
    target = root / level
    if level == "a":
        os.rename(root / "a", root / "moved")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(elsewhere)
    with pytest.raises(Refused):
        create(place(root, "a", "t1", 1), b"p")
    assert os.listdir(elsewhere) == []


def test_a_link_in_place_of_a_file_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = place(tmp_path / "root", "a", "t1", 1)
    create(folder, b"p")
    os.unlink(folder.prompt_file)
    os.symlink(victim, folder.prompt_file)
    create(folder, b"new")
    assert victim.read_text() == "untouched"
    assert not os.path.islink(folder.prompt_file)
    os.unlink(folder.log)
    os.symlink(victim, folder.log)
    with pytest.raises(Refused):
        create(folder, b"new")


def test_a_folder_that_all_may_write_is_refused(tmp_path: Path) -> None:
    create(place(tmp_path / "root", "a", "t0", 1), b"p")
    os.chmod(tmp_path / "root/a", 0o777)
    with pytest.raises(Refused, match="written by every user"):
        create(place(tmp_path / "root", "a", "t1", 1), b"p")


def test_a_users_folder_with_the_name_of_an_agent_is_not_taken_for_runs(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend/main.py").write_text("")
    with pytest.raises(Refused, match="holds files that are no runs"):
        create(place(tmp_path, "backend", "t1", 1), b"p")


def test_files_for_an_agent_are_put_below_their_folder_only(tmp_path: Path) -> None:
    base, elsewhere = tmp_path / "ws", tmp_path / "elsewhere"
    base.mkdir()
    elsewhere.mkdir()
    put_file(str(base), "a/b/x.json", b"{}", 0o640)
    assert (base / "a/b/x.json").read_bytes() == b"{}"
    assert mode(base / "a/b/x.json") == 0o640
    for bad in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(Invalid):
            put_file(str(base), bad, b"", 0o600)
    (base / "link").symlink_to(elsewhere)
    with pytest.raises(Refused):
        put_file(str(base), "link/x", b"", 0o600)
    assert os.listdir(elsewhere) == []


def test_nothing_of_a_failed_write_stays(tmp_path: Path) -> None:
    folder = place(tmp_path, "a", "t1", 1)
    create(folder, b"p")
    os.unlink(folder.prompt_file)
    os.mkdir(folder.prompt_file)
    with pytest.raises(Refused):
        create(folder, b"p")
    assert not [name for name in os.listdir(folder.path) if name.startswith(".")]


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for task in range(20):
        create(place(tmp_path, "a", f"t{task}", 1), b"p")
    with pytest.raises(Refused):
        os.symlink("nowhere", tmp_path / "b")
        create(place(tmp_path, "b", "t1", 1), b"p")
    assert len(os.listdir("/dev/fd")) == before


def test_the_mark_tells_folders_of_runs_from_others(tmp_path: Path) -> None:
    create(place(tmp_path, "a", "t1", 1), b"p")
    assert (tmp_path / "a" / folders.MARK).exists()
