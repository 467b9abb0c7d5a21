"""What a snapshot keeps is verified, restored, exported and restored from the export; what it cannot keep it names."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.format import limits
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, TIME_MAX, TIME_MIN, Entry, check
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.write.snapshot_writer import Unread
from maestro.workspaces.cleaning import remove_tree
from tests.workspaces.archive import trees
from tests.workspaces.archive.trees import told

ROOMY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A file system that knows any date, where there is one."""
SECOND = 1_000_000_000


def come_back(place: Path, snapshot: str, archive: Archive) -> list[Path]:
    """The tree `ws` of a snapshot by all ways that there are."""
    archive.verify(snapshot)
    archive.restore(snapshot, "ws", place / "restored")
    archive.export(snapshot, place / "export.tar.gz")
    with open_export(place / "export.tar.gz") as export:
        export.verify()
        export.restore({"ws": place / "exported"})
    return [place / "restored", place / "exported"]


DATES = st.one_of(
    st.integers(-(1 << 62), 1 << 62),
    st.sampled_from([-1, 0, 1, -(1 << 31), (1 << 32) - 1, 1 << 33, 1 << 40, -11_644_473_600, 253_402_300_799]).map(
        lambda seconds: seconds * SECOND + 1
    ),
    st.sampled_from([1 << 62, (1 << 62) - 1, (1 << 63) - 1, 1 << 63, TIME_MAX, TIME_MAX + 1, TIME_MIN, TIME_MIN - 1]),
)
IDS = st.sampled_from([0, 1, 65534, 65535, 1 << 21, (1 << 31) - 1, 1 << 31, (1 << 32) - 2])
NAMES = st.one_of(trees.NAMES, st.integers(200, 255).map(lambda size: b"n" * size))
ODD = st.fixed_dictionaries(
    {
        "date": DATES,
        "folder's date": DATES,
        "owner": st.tuples(IDS, IDS),
        "name": NAMES,
        "target": st.one_of(st.just(b"x"), st.integers(1, 4095).map(lambda size: b"t" * size)),
        "xattrs": st.dictionaries(st.binary(min_size=1, max_size=200).filter(lambda name: 0 not in name), st.binary()),
    }
)


def attributes(path: bytes, wanted: dict[bytes, bytes]) -> None:
    """Give a file these, as far as its file system has room for them."""
    for name, value in wanted.items():
        try:
            os.setxattr(path, b"user." + name, value)
        except OSError:
            return


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(odd=ODD)
def test_what_is_kept_comes_back_and_what_is_not_is_named(odd: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory(dir=ROOMY) as folder:
        place = Path(folder)
        inner = os.fsencode(place / "ws/inner")
        os.makedirs(inner)
        file, link = inner + b"/" + odd["name"], os.fsencode(place / "ws/link")  # type: ignore[operator]
        with open(file, "wb") as content:
            content.write(b"x")
        os.symlink(odd["target"], link)  # type: ignore[arg-type]
        attributes(file, odd["xattrs"])  # type: ignore[arg-type]
        if trees.IS_ROOT:
            os.chown(file, *odd["owner"])  # type: ignore[misc]
        for path, date in ((file, odd["date"]), (inner, odd["folder's date"])):
            os.utime(path, ns=(0, date))  # type: ignore[arg-type]
        dates = {os.lstat(path).st_mtime_ns: os.path.relpath(path, os.fsencode(place / "ws")) for path in (file, inner)}
        beyond = [path for date, path in dates.items() if not TIME_MIN <= date <= TIME_MAX]
        archive = Archive(place / "store")
        try:
            archive.save([("ws", str(place / "ws"))], "one", {})
        except Unread as refusal:
            assert beyond and len(refusal.files) >= len(beyond)
            return
        assert not beyond
        for back in come_back(place, "one", archive):
            assert told(back) == told(place / "ws")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that goes whatever is in it: pytest cannot remove a tree that is deep."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    remove_tree(folder)


@pytest.mark.parametrize("name", ["d", "level"])
def test_ten_thousand_levels_come_back(name: str, place: Path) -> None:
    levels = 10_000 if name == "d" else 2_000  # three times as long as a path may be
    (place / "ws").mkdir()
    at = os.open(place / "ws", os.O_RDONLY)
    for level in range(levels):
        os.mkdir(name, dir_fd=at)
        if level % 1000 == 0:
            os.symlink("x", "beside", dir_fd=at)
        deeper = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.link("leaf", "another leaf", src_dir_fd=at, dst_dir_fd=at)
    os.close(at)
    archive = Archive(place / "store")
    saved = archive.save([("ws", str(place / "ws"))], "one", {})
    assert saved.entries == levels + 3 + -(-levels // 1000)
    for back in come_back(place, "one", archive):
        archive.save([("ws", str(back))], back.name, {})
    found = [archive.read(one).content for one in ("one", "restored", "exported")]
    assert len({content.trees[0].root for content in found if content}) == 1, "the same entries, to the last bit"
    for tree in ("ws", "restored", "exported"):
        remove_tree(place / tree)
        assert not (place / tree).exists()


def sparse(tree: Path) -> str:
    with (tree / "inner/odd").open("wb") as file:
        file.truncate(1 << 40)
    return "inner/odd"


def deep(tree: Path) -> str:
    at = os.open(tree, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 250, dir_fd=at)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(at)
    return "/".join(["d" * 250] * 523)


@pytest.mark.parametrize("make", [sparse, deep])
def test_what_no_archive_keeps_is_named_and_all_else_kept_where_that_is_allowed(
    make: Callable[[Path], str], place: Path
) -> None:
    tree = place / "ws"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/file").write_text("kept")
    try:
        odd = make(tree)
    except OSError:  # a file system without files of that size
        return
    archive = Archive(place / "store")
    with pytest.raises(Unread) as refused:
        archive.save([("ws", str(tree))], "one", {})
    assert list(refused.value.files) == [f"ws/{odd}"]
    assert archive.snapshots() == []
    saved = archive.save([("ws", str(tree))], "one", {}, allow_unread=True)
    assert saved.not_held == [f"ws/{odd}"]
    for back in come_back(place, "one", archive):
        assert (back / "inner/file").read_text() == "kept"
        assert not (back / "inner/odd").exists()
        remove_tree(back)
    remove_tree(tree)


def test_a_file_that_may_not_be_read_is_named_and_keeps_no_other_from_being_kept(tmp_path: Path) -> None:
    """As root all may be read: then this says that all is kept."""
    for tree in ("a", "b"):
        (tmp_path / tree / "closed").mkdir(parents=True)
        (tmp_path / tree / "file").write_text("x")
    (tmp_path / "a/secret").write_text("x")
    (tmp_path / "a/secret").chmod(0)
    (tmp_path / "a/closed").chmod(0)
    archive = Archive(tmp_path / "store")
    both = [(tree, str(tmp_path / tree)) for tree in ("a", "b")]
    if not trees.IS_ROOT:
        with pytest.raises(Unread) as refused:
            archive.save(both, "one", {})
        assert list(refused.value.files) == ["a/closed", "a/secret"]
    saved = archive.save(both, "one", {}, allow_unread=True)
    assert saved.not_held == ([] if trees.IS_ROOT else ["a/closed", "a/secret"])
    archive.verify("one")
    for tree in ("a", "b"):
        archive.restore("one", tree, tmp_path / f"back-{tree}")
        assert (tmp_path / f"back-{tree}/file").read_text() == "x"
    shutil.rmtree(tmp_path / "a/closed")


def chain(levels: int, name: bytes) -> list[Entry]:
    return [Entry(b"/".join([name] * level), FOLDER, 0o755, 0, 0, 0) for level in range(levels)]


def test_long_paths_are_kept_to_where_they_become_too_much() -> None:
    entries = chain(9_000, b"folder")
    found, why = limits.keepable(entries)
    assert found == entries[: 1 + (limits.LONG_PATH_BYTES + 1) // 7]
    assert list(why) == [entries[len(found)].path]
    entries = chain(9_000, b"four")
    assert limits.keepable(entries) == (entries, {})


def test_names_of_one_file_are_kept_together_or_named() -> None:
    far = b"x" * (limits.PATH_BYTES_MAX + 1)
    tree = [Entry(b"", FOLDER, 0o755, 0, 0, 0), Entry(far, FILE, 0o644, 0, 0, 0)]
    tree.append(Entry(b"z", HARDLINK, 0o644, 0, 0, 0, target=far))
    found, why = limits.keepable(tree)
    assert (found, list(why)) == (tree[:1], [far, b"z"])


@pytest.mark.parametrize("owner", [1 << 32, (1 << 32) - 1])
def test_an_impossible_owner_or_date_is_named_and_kept_as_the_nearest(owner: int) -> None:
    tree = [Entry(b"", FOLDER, 0o755, 0, 0, TIME_MAX + 5), Entry(b"f", FILE, 0o644, 0, owner, TIME_MIN - 5)]
    tree[1].digest = bytes(32)
    found, why = limits.keepable(tree)
    assert list(why) == [b"", b"f"]
    check("ws", found)
