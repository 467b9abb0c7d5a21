"""A flipped, missing or added byte anywhere in an archive is found, and named, by verify and by restore."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maestro.model.errors import Invalid, MaestroError, VerificationFailed
from maestro.workspaces.archive.format import layout, manifests
from maestro.workspaces.archive.format.packs import read_directory
from maestro.workspaces.archive.library import Archive


@pytest.fixture
def store(tmp_path: Path) -> Path:
    source = tmp_path / "ws"
    source.mkdir()
    for number in range(40):
        (source / f"small-{number}").write_bytes(os.urandom(50) * 10)
    (source / "large").write_bytes(b"".join(b"line %d\n" % number for number in range(300_000)))
    (source / "random").write_bytes(os.urandom(1 << 20))
    with (source / "sparse").open("wb") as file:
        file.truncate(4 << 20)
        file.write(b"x" * 5000)
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "one", {})
    return tmp_path / "store"


def places(store: Path) -> Iterator[tuple[Path, int]]:
    """Every region: each byte of heads, tails and directories, some of each block."""
    chance = random.Random(3)
    for path in [*(store / "packs").iterdir(), *(store / "manifests").iterdir(), store / "format"]:
        size = path.stat().st_size
        found = {*range(min(24, size)), *range(max(0, size - 60), size), *chance.sample(range(size), min(50, size))}
        if path.suffix == ".pack":
            for block in read_directory(path):
                found |= {block.offset + at for at in (0, 4, 5, 8, block.stored - 1, block.stored - 4)}
                found.add(block.offset + chance.randrange(block.stored))
        yield from ((path, at) for at in sorted(found))


@contextmanager
def pristine(store: Path) -> Iterator[None]:
    """The archive is afterwards as it was before: what was found is set aside and saved in it."""
    shutil.copytree(store, store.with_name("kept"), symlinks=True)
    yield
    shutil.rmtree(store)
    store.with_name("kept").rename(store)


def test_every_flipped_byte_is_found_by_verify(store: Path) -> None:
    chance = random.Random(5)
    missed = []
    tried = list(places(store))
    for path, at in tried:
        whole = path.read_bytes()
        with pristine(store):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
            try:
                Archive(store).verify("one")
                missed.append((path, at))
            except (VerificationFailed, Invalid) as error:
                assert error.where
    assert len(tried) > 250
    assert not missed
    Archive(store).verify("one")


def test_what_is_missing_or_too_much_is_found_by_verify(store: Path) -> None:
    for path in [*(store / "packs").iterdir(), *(store / "manifests").iterdir()]:
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], whole[1:], whole + b"\0", whole[: len(whole) // 2], whole[:100] + whole[140:]):
            with pristine(store):
                path.write_bytes(damaged)
                with pytest.raises(VerificationFailed):
                    Archive(store).verify("one")
        with pristine(store):
            path.unlink()
            with pytest.raises(MaestroError):
                Archive(store).verify("one")
    Archive(store).verify("one")


def test_the_member_that_is_damaged_is_named(store: Path) -> None:
    [pack] = (store / "packs").iterdir()
    content = pack.read_bytes()
    block = max(read_directory(pack), key=lambda block: block.stored)
    at = block.offset + block.stored // 2
    pack.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
    with pytest.raises(VerificationFailed, match="ws/random"):
        Archive(store).verify("one")
    with pytest.raises(VerificationFailed, match="ws/random"):
        Archive(store).restore("one", "ws", store.parent / "stage")
    assert not (store.parent / "stage").exists()


def test_another_manifest_in_its_place_is_found_where_its_id_is_known(store: Path) -> None:
    archive = Archive(store)
    known = archive.read("one").manifest
    (store.parent / "ws/small-1").write_text("other")
    archive.save([("ws", str(store.parent / "ws"))], "two", {})
    other = manifests.read(layout.Layout(store), "two")[0]
    (store / "manifests/one").unlink()
    manifests.write(layout.Layout(store), type(other)(1, "one", other.taken_at, {}, other.trees))
    archive.verify("one")
    with pytest.raises(VerificationFailed, match="recorded"):
        archive.verify("one", known)
    (store / "manifests/one").write_bytes((store / "manifests/two").read_bytes())
    with pytest.raises(VerificationFailed, match="two"):
        archive.verify("one")


def test_an_archive_of_another_version_is_refused(store: Path) -> None:
    (store / "format").write_text("maestro archive 2\n")
    with pytest.raises(Invalid, match="another format"):
        Archive(store)
    (store / "format").unlink()
    with pytest.raises(Invalid, match="missing"):
        Archive(store)
