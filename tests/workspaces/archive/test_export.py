"""An export is one file that tar and sha256sum understand, and that comes back whole without the archive."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from maestro.model.errors import Invalid, NotFound, Refused, VerificationFailed
from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.library import Archive
from tests.workspaces.archive import trees
from tests.workspaces.archive.trees import told


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    source = trees.fill(tmp_path / "ws")
    archive = Archive(tmp_path / "store")
    archive.save([("workspaces/a", str(source)), ("b", str(source / "nested"))], "one", {"position": 7})
    (tmp_path / "types.yaml").write_text("a: b\n")
    done = archive.export("one", tmp_path / "out.tar.gz", [("log", b"events"), ("types.yaml", tmp_path / "types.yaml")])
    assert done.bytes == (tmp_path / "out.tar.gz").stat().st_size
    return tmp_path / "out.tar.gz"


def test_tar_lists_it_with_the_manifest_first(exported: Path) -> None:
    listed = subprocess.run(["tar", "-tzf", exported], capture_output=True, check=True)
    names = listed.stdout.splitlines()
    assert names[:4] == [b"maestro-manifest.jsonl", b"SHA256SUMS", b"log", b"types.yaml"]
    assert b"workspaces/a/.git/HEAD" in names
    assert listed.stderr == b""


def test_tar_extracts_content_and_times_and_sha256sum_agrees(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", exported, "-C", tmp_path / "out", "--xattrs"], capture_output=True, check=True)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True)
    assert checked.returncode == 0, checked.stderr
    files = [entry for name in ("ws", "ws/nested") for entry in told(tmp_path / name).values() if entry.kind == "f"]
    assert checked.stdout.count(b": OK\n") == len(files) + 3

    def of(path: Path) -> dict[bytes, trees.Told]:
        return {name: entry._replace(holes=False) for name, entry in told(path).items()}

    assert of(tmp_path / "out/workspaces/a") == of(tmp_path / "ws")


def test_maestro_proves_and_restores_it_with_holes_and_all(exported: Path, tmp_path: Path) -> None:
    with open_export(exported) as export:
        assert export.head.meta == {"position": 7}
        assert export.read("log") == b"events"
        assert export.verify().entries == export.head.trees[0].entries + export.head.trees[1].entries
        export.restore({"workspaces/a": tmp_path / "stage"})
        assert Archive(tmp_path / "store").diff(export, "workspaces/a", tmp_path / "ws").changed == []
        with pytest.raises(NotFound):
            export.restore({"other": tmp_path / "none"})
        with pytest.raises(NotFound):
            export.read("other")
    assert told(tmp_path / "stage") == told(tmp_path / "ws")


def test_the_beginning_of_each_file_is_read_from_it(exported: Path, tmp_path: Path) -> None:
    files = [path for path in (tmp_path / "ws").rglob("*") if path.is_file() and not path.is_symlink()]
    with open_export(exported) as export:
        for path in files:
            name = os.fsencode(path.relative_to(tmp_path / "ws"))
            assert export.beginning("workspaces/a", name, 100) == path.read_bytes()[:100]
        for name in (b"none", b"nested"):
            with pytest.raises(NotFound, match="no such file"):
                export.beginning("workspaces/a", name, 100)
        with exported.open("r+b") as file:  # the file at the end is not reached, damage before it is
            file.truncate(exported.stat().st_size // 2)
        last = max(entry.path for entry in export.entries("b") if entry.pieces or entry.size)
        with pytest.raises(VerificationFailed):
            export.beginning("b", last, 100)


def test_files_that_pack_too_well_for_an_honest_archive_come_back_too(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/letters").write_bytes(b"a" * (40 << 20))
    (tmp_path / "ws/zeros").write_bytes(bytes(40 << 20))
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(tmp_path / "ws"))], "one", {})
    archive.export("one", tmp_path / "out")
    with open_export(tmp_path / "out") as export:
        export.restore({"ws": tmp_path / "stage"})
    assert told(tmp_path / "stage") == told(tmp_path / "ws")


def test_names_that_would_meet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    archive = Archive(tmp_path / "store")
    with pytest.raises(Invalid):
        archive.save([("a", str(tmp_path / "ws")), ("a/b", str(tmp_path / "ws"))], "one", {})
    archive.save([("a", str(tmp_path / "ws"))], "one", {})
    for name in ("a", "a/b", "SHA256SUMS", "maestro-manifest.jsonl", "../x", "/x", "", "x//y"):
        with pytest.raises(Invalid):
            archive.export("one", tmp_path / "out", [(name, b"")])
    with pytest.raises(Invalid):
        archive.export("one", tmp_path / "ws")
    with pytest.raises(Refused):
        archive.export("one", tmp_path / "absent/out")
    with pytest.raises(NotFound):
        open_export(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["store", "ws"]


def test_an_export_replaces_an_older_one_at_once_and_sweeps_what_was_broken_off(exported: Path, tmp_path: Path) -> None:
    before = exported.read_bytes()
    (tmp_path / ".out.tar.gz.maestro-00").write_bytes(b"half")
    Archive(tmp_path / "store").export("one", exported, [("log", b"events"), ("types.yaml", b"a: b\n")])
    assert exported.read_bytes() == before  # the same snapshot gives the same bytes
    assert not list(tmp_path.glob(".out*"))


def test_damage_in_a_small_export_is_told_of_the_tree_that_it_is_in(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "noise").write_bytes(os.urandom(20_000))
    archive = Archive(tmp_path / "archive")
    archive.save([("agent", str(tree))], "one", {})
    out = tmp_path / "one.tar.gz"
    archive.export("one", out)
    whole = bytearray(out.read_bytes())
    whole[len(whole) // 2] ^= 1
    out.write_bytes(whole)
    with pytest.raises(VerificationFailed) as failure, open_export(out) as export:
        export.verify()
    assert failure.value.where.startswith("agent")
