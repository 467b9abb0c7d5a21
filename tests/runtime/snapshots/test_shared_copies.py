"""Copies of snapshots in a shared archive, whatever it is and however badly the way there behaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from maestro.model.errors import NotFound, VerificationFailed
from maestro.runtime.snapshots.shared import fetched_archive
from maestro.runtime.snapshots.shared.copying import Copies
from maestro.runtime.snapshots.shared.fetched_archive import FetchedArchive
from maestro.runtime.snapshots.shared.patience import Patience
from maestro.runtime.snapshots.shared.place import SharedPlace
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.objects.contract import Unreached
from maestro.workspaces.objects.opening import opened
from tests.object_stores import BUCKET, KINDS, TcpProxy, environment, object_store, variables


class Ground(NamedTuple):
    """A node's own archive with the workspace that it keeps, a shared place, and two homes."""

    place: SharedPlace
    archive: Archive
    work: Path
    home: Path
    other: Path

    def copies(self, node: str = "n-1", home: Path | None = None) -> Copies:
        return Copies(self.place, node, home or self.home, Patience(lambda: None))

    def keep(self, snapshot: str, **files: bytes) -> None:
        """Have these files in the workspace, archived and copied."""
        for name, content in files.items():
            (self.work / name).write_bytes(content)
        self.archive.save([("workspaces/ann", str(self.work))], snapshot, {})
        self.copies().add(self.archive, snapshot)

    def fetched(self) -> FetchedArchive:
        return FetchedArchive(self.place, "n-1", self.other / "reached" / "n-1")

    @property
    def there(self) -> dict[str, int]:
        return self.place.objects.sizes("ns/n-1")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """With a folder."""
    (tmp_path / "shared").mkdir()
    return _ground(tmp_path, (tmp_path / "shared").as_uri())


def _ground(top: Path, url: str) -> Ground:
    for name in ("work", "home", "other"):
        (top / name).mkdir()
    archive = Archive(top / "home" / "snapshots")
    return Ground(SharedPlace(opened(url), "ns"), archive, top / "work", top / "home", top / "other")


@pytest.fixture(scope="module", params=KINDS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with object_store(request.param) as port:
        yield port


def test_a_snapshot_gets_through_a_way_that_cuts_and_is_read_from_there(port: int, tmp_path: Path) -> None:
    proxy = TcpProxy(port)
    with variables(**environment(proxy.port)):
        ground = _ground(tmp_path, f"s3://{BUCKET}/{os.urandom(4).hex()}")
        proxy.cuts = [0, 700, 300_000, 20]
        ground.keep("s-1", one=os.urandom(1 << 20), two=b"small")
        assert proxy.cuts == []
        assert sorted(name.split("/")[0] for name in ground.there) == ["inventories", "manifests", "packs"]
        proxy.cuts = [0, 100, 30]
        fetched = ground.fetched()
        digest = ground.archive.read("s-1").manifest
        assert fetched.verify("s-1", digest).manifest == digest
        fetched.restore("s-1", "workspaces/ann", tmp_path / "back")
        fetched.leave()
    proxy.close()
    assert (tmp_path / "back" / "one").read_bytes() == (ground.work / "one").read_bytes()
    assert (tmp_path / "back" / "two").read_bytes() == b"small"


def test_what_arrives_otherwise_than_it_was_sent_is_noticed_and_no_snapshot(port: int, tmp_path: Path) -> None:
    proxy = TcpProxy(port)
    with variables(**environment(proxy.port)):
        ground = _ground(tmp_path, f"s3://{BUCKET}/{os.urandom(4).hex()}")
        (ground.work / "one").write_bytes(b"content")
        ground.archive.save([("workspaces/ann", str(ground.work))], "s-1", {})
        proxy.altered = (b"MAESTROP", b"MAESTROX")
        with pytest.raises(Unreached):
            ground.copies().add(ground.archive, "s-1")
        assert not any(name.startswith("manifests") for name in ground.there)
        proxy.altered = None
        ground.copies().add(ground.archive, "s-1")
        fetched = ground.fetched()
        fetched.verify("s-1")
        fetched.leave()
    proxy.close()


def test_what_is_there_already_is_not_written_again(ground: Ground) -> None:
    ground.keep("s-1", one=os.urandom(100_000))
    before = ground.there
    ground.keep("s-2", two=b"more")
    packs = {name for name in ground.there.keys() - before.keys() if name.startswith("packs")}
    assert sum(ground.there[name] for name in packs) < 20_000
    (ground.home / "shared" / "known-n-1").unlink()
    stamps = {path: path.stat().st_mtime_ns for path in (ground.home.parent / "shared").rglob("*.pack")}
    ground.copies().add(ground.archive, "s-2")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "read back, and not written anew"


def test_a_pack_that_went_is_written_again_though_it_is_remembered(ground: Ground) -> None:
    ground.keep("s-1", one=b"content")
    for path in (ground.home.parent / "shared").rglob("*.pack"):
        path.unlink()
    ground.keep("s-2", two=b"more")
    fetched = ground.fetched()
    fetched.verify("s-2")
    fetched.leave()


def test_a_flipped_byte_is_named_what_is_whole_comes_back_and_a_mended_copy_counts(
    ground: Ground, tmp_path: Path
) -> None:
    ground.keep("s-1", one=os.urandom(20_000))
    ground.keep("s-2", two=os.urandom(20_000))
    (pack,) = [name for name in ground.there if name.startswith("packs") and ground.there[name] > 20_000][:1]
    path = ground.home.parent / "shared" / "ns" / "n-1" / pack
    good = path.read_bytes()
    path.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    fetched = ground.fetched()
    with pytest.raises(VerificationFailed, match="is not what it was") as failed:
        fetched.verify("s-2")
    assert "node n-1" in failed.value.line() and ground.place.url in failed.value.line()
    with pytest.raises(VerificationFailed):
        fetched.restore("s-2", "workspaces/ann", tmp_path / "none")
    put = fetched.restore("s-2", "workspaces/ann", tmp_path / "back", skip_lost=True)
    assert len(put.lost) == 1 and len(list((tmp_path / "back").iterdir())) == 1
    fetched.leave()
    path.write_bytes(good)
    fetched = ground.fetched()
    fetched.verify("s-2")
    fetched.leave()


def test_what_is_missing_is_named(ground: Ground) -> None:
    ground.keep("s-1", one=b"content")
    shared = ground.home.parent / "shared" / "ns" / "n-1"
    fetched = ground.fetched()
    with pytest.raises(NotFound, match="node n-1 in file:"):
        fetched.read("s-0")
    for path in shared.rglob("*.pack"):
        path.unlink()
    with pytest.raises(VerificationFailed, match="is gone"):
        fetched.verify("s-1")
    fetched.leave()
    inventory = shared / "inventories" / "s-1"
    inventory.write_bytes(inventory.read_bytes()[:-1])
    fetched = ground.fetched()
    with pytest.raises(VerificationFailed, match="inventory of s-1 is damaged"):
        fetched.read("s-1")
    fetched.leave()


def test_one_workspace_is_read_without_the_packs_of_the_others(ground: Ground, tmp_path: Path) -> None:
    ground.keep("s-1", one=os.urandom(300_000))
    (tmp_path / "ben").mkdir()
    (tmp_path / "ben" / "file").write_bytes(b"of ben")
    ground.archive.save([("workspaces/ben", str(tmp_path / "ben")), ("workspaces/ann", str(ground.work))], "s-2", {})
    ground.copies().add(ground.archive, "s-2")
    fetched = ground.fetched()
    fetched.restore("s-2", "workspaces/ben", tmp_path / "back")
    assert sum(path.stat().st_size for path in (ground.other / "reached/n-1/packs").iterdir()) < 50_000
    assert (tmp_path / "back" / "file").read_bytes() == b"of ben"
    fetched.verify("s-2")
    fetched.leave()


def test_clearing_removes_what_nothing_needs_and_of_this_node_alone(ground: Ground) -> None:
    for number in range(4):
        ground.keep(f"s-{number}", one=os.urandom(50_000), **{f"f{number}": os.urandom(5_000)})
    ground.copies("n-2", ground.other).add(ground.archive, "s-0")
    others = ground.place.objects.sizes("ns/n-2")
    ground.archive.collect(["s-2", "s-3"])
    assert ground.copies().keep({"s-2", "s-3", "s-9"}, ground.archive) >= 2
    assert sorted(name for name in ground.there if not name.startswith("packs")) == [
        "inventories/s-2",
        "inventories/s-3",
        "manifests/s-2",
        "manifests/s-3",
    ]
    assert ground.place.objects.sizes("ns/n-2") == others
    fetched = ground.fetched()
    assert [one.snapshot for one in fetched.snapshots()] == ["s-2", "s-3"]
    for name in ("s-2", "s-3"):
        fetched.verify(name)
    fetched.leave()
    assert ground.copies().keep(set()) >= 1
    assert ground.there == {}


def test_a_damaged_archive_does_not_take_its_good_copy_along(ground: Ground) -> None:
    ground.keep("s-1", one=os.urandom(50_000))
    for path in (ground.home / "snapshots" / "packs").iterdir():
        path.write_bytes(b"rot")
    before = ground.there
    ground.copies().keep({"s-1"}, ground.archive)
    assert ground.there == before
    fetched = ground.fetched()
    fetched.verify("s-1")
    fetched.leave()


def test_the_cache_is_bounded_what_is_in_use_stays(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.keep("s-1", one=os.urandom(200_000))
    first = ground.fetched()
    first.verify("s-1")
    packs = ground.other / "reached" / "n-1" / "packs"
    monkeypatch.setattr(fetched_archive, "CACHE_BYTES_MAX", 100_000)
    again = ground.fetched()
    assert list(packs.iterdir()), "somebody reads there"
    again.leave()
    first.leave()
    fetched = ground.fetched()
    assert not list(packs.iterdir())
    fetched.verify("s-1")
    fetched.leave()
