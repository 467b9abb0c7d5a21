"""Objects in a folder and in buckets: each whole or not at all, and what is told where the place is out of reach."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.model.errors import Invalid, Refused
from maestro.workspaces.objects.bucket_objects import BucketObjects
from maestro.workspaces.objects.contract import Absent, Objects, Unreached, insisted
from maestro.workspaces.objects.folder_objects import FolderObjects
from maestro.workspaces.objects.opening import opened
from tests.object_stores import BUCKET, KINDS, environment, object_store, variables


@pytest.fixture(scope="module", params=["folder", *KINDS])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Objects]:
    if request.param == "folder":
        yield opened(tmp_path_factory.mktemp("a b").as_uri())
        return
    with object_store(request.param) as port, variables(**environment(port)):
        yield opened(f"s3://{BUCKET}/some/prefix")


def test_what_is_written_is_read_and_listed_and_removed(place: Objects, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (24 << 10))
    place.put("ns/node/packs/one.pack", large)
    place.put("ns/node/manifests/s-1", b"old")
    place.put("ns/node/manifests/s-1", b"new")
    place.put("ns/node2/manifests/s-2", b"")
    assert b"".join(place.get("ns/node/packs/one.pack")) == large.read_bytes()
    assert b"".join(place.get("ns/node/manifests/s-1")) == b"new"
    assert b"".join(place.get("ns/node2/manifests/s-2")) == b""
    assert place.sizes("ns/node") == {"packs/one.pack": 6 << 20, "manifests/s-1": 3}
    assert place.sizes("ns/nod") == {}
    for _ in range(2):
        place.delete("ns/node/manifests/s-1")
    with pytest.raises(Absent):
        list(place.get("ns/node/manifests/s-1"))
    assert place.sizes("ns/node") == {"packs/one.pack": 6 << 20}


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    place = FolderObjects(tmp_path / "unmounted")
    for action in (
        lambda: place.put("a/b", b""),
        lambda: list(place.get("a/b")),
        lambda: place.sizes("a"),
        lambda: place.delete("a/b"),
        lambda: place.sweep("a"),
    ):
        with pytest.raises(Unreached, match="is its file system mounted"):
            action()
    assert not (tmp_path / "unmounted").exists()


def test_what_a_killed_writer_left_is_no_object_and_is_swept(tmp_path: Path) -> None:
    place = FolderObjects(tmp_path)
    place.put("ns/node/packs/one", b"whole")
    (tmp_path / "ns/node/packs/.two.0123.part").write_bytes(b"ha")
    assert place.sizes("ns/node") == {"packs/one": 5}
    assert (place.sweep("ns/node"), place.sweep("ns/node")) == (1, 0)


def test_what_is_made_in_a_folder_is_open_to_whom_the_folder_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    FolderObjects(tmp_path).put("ns/node/one", b"")
    assert (tmp_path / "ns/node").stat().st_mode & 0o777 == 0o770
    assert (tmp_path / "ns/node/one").stat().st_mode & 0o777 == 0o660


def test_a_link_or_a_pipe_in_the_place_of_an_object_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Unreached, match="it is a link"):
        list(FolderObjects(tmp_path).get("link"))


def test_what_a_bucket_refuses_is_told_without_its_own_words() -> None:
    with object_store("moto") as port, variables(**environment(port)):
        with pytest.raises(Unreached, match=r"^s3://other/p: .*there is no such bucket; see to the AWS_"):
            BucketObjects("other", "p").put("a", b"")
    with variables(**environment(1)):
        with pytest.raises(Unreached, match="nobody answers there") as away:
            BucketObjects(BUCKET, "p").sizes("a")
    assert "S3RVER" not in str(away.value) and "127.0.0.1" not in str(away.value)


def test_without_the_extra_a_bucket_is_refused_and_a_folder_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(Invalid, match=r"pip install '\.\[s3\]'"):
        opened("s3://bucket/prefix")
    monkeypatch.delitem(sys.modules, "obstore")
    (tmp_path / "obstore.py").write_text("raise ImportError('libc.so.6: version GLIBC_2.24 not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Invalid, match=r"cannot be loaded here: libc.so.6: version GLIBC_2.24 not found"):
        opened("s3://bucket/prefix")
    monkeypatch.undo()
    opened(tmp_path.as_uri()).put("a", b"")


def test_a_place_that_is_away_is_tried_again_with_pauses_and_a_refusal_is_not() -> None:
    pauses: list[float] = []
    tries = iter([Unreached("away"), Unreached("away"), None])

    def action() -> str:
        if error := next(tries):
            raise error
        return "done"

    assert insisted(action, pauses.append) == "done"
    assert pauses == [0.25, 0.5]
    count = 0

    def refuse() -> None:
        nonlocal count
        count += 1
        raise Refused("forbidden")

    with pytest.raises(Refused):
        insisted(refuse, pauses.append)
    assert count == 1
