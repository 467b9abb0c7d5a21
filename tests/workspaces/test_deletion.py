"""A tree that is deleted is, whenever that ends, at its place whole, or gone with a snapshot that holds all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from maestro.durable import replace
from maestro.model.errors import NotFound, Refused, VerificationFailed
from maestro.workspaces import deletion, moves, open_records
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.read import purge
from maestro.workspaces.archive.read.purge import Listing
from maestro.workspaces.archive.write.snapshot_writer import Source
from maestro.workspaces.deletion import Deletion, Doomed, begun, check_whole, end_begun
from tests.workspaces.archive.trees import Told, fill, told
from tests.workspaces.mounted import in_namespace

TREE = "workspaces/ann"
INSTANTS = 135


class Ended(BaseException):
    """Stands for the end of the process."""


class Kept:
    """An archive, and what a deletion asks of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"
        self.home.mkdir(exist_ok=True)
        self.archive = Archive(self.home / "snapshots")

    def delete(
        self, *trees: Doomed, meanwhile: Callable[[str], None] = lambda path: None
    ) -> dict[str, list[purge.Leftover]]:
        """All of it. meanwhile: done when it is proved, to the folder that lies aside."""
        under_way = Deletion(self.home, self.archive.listing)
        try:
            paths = under_way.move_aside(trees)
            named = {each.tree: (each.aside, each.place) for each in trees}
            self.archive.save([Source(name, *where) for name, where in named.items()], "s", {})
            listings = self.archive.prove("s", named)
            meanwhile(paths[0])
            return under_way.delete("s", listings)
        except Ended:
            os.close(under_way._lock)  # all that the end of a process does
            under_way._lock, under_way._record.trees = -1, []
            raise
        finally:
            under_way.close()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def contents(tree: dict[bytes, Told]) -> dict[bytes, Told]:
    """Without the folder itself, whose time tells what was done in it."""
    return {path: each for path, each in tree.items() if path}


def test_what_is_deleted_is_what_is_kept_and_the_folder_stays_the_one_that_it_was(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")
    before, inode = told(place), place.stat().st_ino
    os.mkfifo(place / "pipe")
    assert kept.delete(Doomed(str(place), TREE)) == {}
    assert (os.listdir(place), place.stat().st_ino) == ([], inode)
    kept.archive.restore("s", TREE, tmp_path / "back")
    assert contents(told(tmp_path / "back")) == contents(before)
    assert sorted(os.listdir(tmp_path)) == ["back", "home", "ws"] and begun(kept.home) == []
    assert kept.archive.read("s").content.trees[0].source == os.fsencode(place)  # type: ignore[union-attr]


def test_a_folder_that_does_not_stay_goes(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")
    assert kept.delete(Doomed(str(place), TREE, stays=False)) == {}
    assert os.listdir(tmp_path) == ["home"]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("at", range(0, INSTANTS, 3))
def test_ended_anywhere_it_is_whole_at_its_place_or_gone_and_kept(
    at: int, inside: bool, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename, removal and sync is a place where it may end. inside: the folder cannot be moved as a whole."""
    place = fill(tmp_path / "above/ws")
    before = contents(told(place))
    left = [at]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Ended
            return real(*args, **kwargs)

        return call

    if inside:
        real = os.rename

        def refusing(one: object, *args: object, **kwargs: object) -> None:
            if one == str(place):
                raise PermissionError(13, "Permission denied", one)
            real(one, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "rename", refusing)
    with monkeypatch.context() as patched:
        for owner, name in (
            (os, "fsync"),
            (os, "rename"),
            (os, "unlink"),
            (os, "rmdir"),
            (Path, "rename"),
            (moves, "move"),
        ):
            patched.setattr(owner, name, counted(getattr(owner, name)))
        try:
            kept.delete(Doomed(str(place), TREE))
            is_ended = False
        except Ended:
            is_ended = True
    assert end_begun(kept.home, kept.archive.listing) == []
    now = contents(told(place))
    assert now in (before, {})
    assert is_ended or now == {}
    assert not is_ended or at < INSTANTS - 3, "it has more instants than are tried"
    if not now:
        kept.archive.restore("s", TREE, tmp_path / "back")
        assert contents(told(tmp_path / "back")) == before
    assert os.listdir(place.parent) == ["ws"] and begun(kept.home) == []


def test_what_comes_meanwhile_stays_and_all_else_goes(kept: Kept, tmp_path: Path) -> None:
    """Somebody who stands in the folder goes on writing there after it was read back."""
    place = fill(tmp_path / "ws")

    def write(aside: str) -> None:
        Path(aside, "nested/new").write_text("came")
        Path(aside, "run.sh").write_text("#!/bin/sh\nchanged")
        Path(aside, "link").unlink()
        Path(aside, "link").symlink_to("secret")
        Path(aside, "empty.file").unlink()
        Path(aside, "empty.file").mkdir()

    left = kept.delete(Doomed(str(place), TREE), meanwhile=write)[str(place)]
    assert {each.path for each in left} == {"nested/new", "run.sh", "link", "empty.file"}
    assert {each.why for each in left} == {purge.CAME}
    assert sorted(os.listdir(place)) == ["empty.file", "link", "nested", "run.sh"]
    assert ((place / "nested/new").read_text(), os.listdir(place / "nested")) == ("came", ["new"])


def test_what_changes_before_it_is_read_back_is_refused_and_all_is_put_back(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")
    before = told(place)
    with pytest.raises(Refused, match="'new' has come"):
        with Deletion(kept.home, kept.archive.listing) as under_way:
            doomed = Doomed(str(place), TREE)
            under_way.move_aside([doomed])
            kept.archive.save([(TREE, doomed.aside)], "s", {})
            Path(doomed.aside, "new").write_text("came")
            kept.archive.prove("s", {TREE: (doomed.aside, str(place))})
    (place / "new").unlink()
    assert contents(told(place)) == contents(before)


def test_what_a_restore_could_not_bring_back_is_not_deleted(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")
    before = told(place)
    with pytest.raises(VerificationFailed):
        with Deletion(kept.home, kept.archive.listing) as under_way:
            doomed = Doomed(str(place), TREE)
            under_way.move_aside([doomed])
            kept.archive.save([(TREE, doomed.aside)], "s", {})
            for pack in (kept.home / "snapshots/packs").iterdir():
                damaged = bytearray(pack.read_bytes())
                damaged[len(damaged) // 3] ^= 1
                pack.write_bytes(damaged)
            kept.archive.prove("s", {TREE: (doomed.aside, str(place))})
    assert told(place) == before


def test_what_took_its_place_meanwhile_is_not_overwritten_and_the_tree_is_told(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")
    before = told(place)
    with pytest.raises(Refused, match="cannot be put back"):
        with Deletion(kept.home, kept.archive.listing) as under_way:
            (aside,) = under_way.move_aside([Doomed(str(place), TREE)])
            place.mkdir()
            (place / "precious").write_text("another's")
    assert told(Path(aside)) == before and os.listdir(place) == ["precious"]
    assert [each.aside for each in begun(kept.home)] == [aside]
    with pytest.raises(Refused, match="is put back as soon as"):
        check_whole(kept.home, str(place))
    (refused,) = end_begun(kept.home, kept.archive.listing)
    assert aside in refused
    (place / "precious").rename(tmp_path / "precious")
    assert end_begun(kept.home, kept.archive.listing) == []
    assert told(place) == before
    check_whole(kept.home, str(place))


def test_a_snapshot_that_is_gone_by_then_deletes_nothing_more(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")

    def end(aside: str) -> None:
        raise Ended

    with pytest.raises(Ended):
        kept.delete(Doomed(str(place), TREE), meanwhile=end)
    (record,) = open_records.deletions(kept.home / open_records.DELETIONS)
    replace(record, msgspec.json.encode(deletion.Record(deletion._read(record).trees, deletion.DELETING, "s")))

    def gone(snapshot: str, tree: str) -> Listing:
        raise NotFound("there is no such snapshot")

    before = sorted(os.listdir(begun(kept.home)[0].aside))
    assert end_begun(kept.home, gone) == []
    assert sorted(os.listdir(place)) == before


def test_one_at_a_time_and_what_is_under_way_is_left_alone(kept: Kept, tmp_path: Path) -> None:
    place = fill(tmp_path / "ws")
    with Deletion(kept.home, kept.archive.listing) as under_way:
        (aside,) = under_way.move_aside([Doomed(str(place), TREE)])
        with pytest.raises(Refused, match="another workspace is being cleared"):
            Deletion(kept.home, kept.archive.listing)
        assert end_begun(kept.home, kept.archive.listing) == [] and os.path.lexists(aside)
    assert place.is_dir() and not os.path.lexists(aside)


@pytest.mark.parametrize("mount", ["bind(place / 'below', ws)", "tmpfs(ws)"])
def test_a_workspace_that_is_a_mount_point_is_emptied_by_its_entries(mount: str, tmp_path: Path) -> None:
    script = f"""
from tests.workspaces.archive import trees
from tests.workspaces.archive.trees import fill, told
from tests.workspaces.test_deletion import Kept, contents
trees.IS_ROOT = False  # only one owner is known in here
from maestro.workspaces.deletion import Doomed
ws = place / "ws"
(place / "below").mkdir(); ws.mkdir()
{mount}
fill(ws / "tree")
before = contents(told(ws))
kept = Kept(place)
assert kept.delete(Doomed(str(ws), "workspaces/ann")) == {{}}
assert os.listdir(ws) == [], os.listdir(ws)
kept.archive.restore("s", "workspaces/ann", place / "back")
assert contents(told(place / "back")) == before
print("done")
"""
    assert in_namespace(script, tmp_path) == "done"
