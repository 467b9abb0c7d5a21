"""What a restore does for each of many trees, and for each level of a deep one, costs no more where there are more."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from maestro.workspaces.archive.library import Archive
from tests.counting import RATIO_MAX, calls


def many(top: Path, count: int) -> list[tuple[str, str]]:
    """Small workspaces, by the names of their trees."""
    trees = []
    for number in range(count):
        folder = top / f"w{number}"
        folder.mkdir(parents=True)
        (folder / "page").write_text(f"page {number}")
        trees.append((f"workspaces/w{number}", str(folder)))
    return trees


def saved(top: Path, count: int) -> tuple[Archive, list[tuple[str, str]]]:
    trees = many(top / "work", count)
    time.sleep(0.1)  # what changed just now is not remembered, and read again
    archive = Archive(top / "store")
    archive.save(trees, "one", {})
    return archive, trees


def looked_at(archive: Archive, trees: list[tuple[str, str]]) -> None:
    """As a dry run looks at them."""
    archive.keep_open()
    for name, path in trees:
        assert not archive.lost("one", name) and archive.diff("one", name, path).unchanged == 1
    archive.close()


def put_back(archive: Archive, trees: list[tuple[str, str]]) -> None:
    archive.keep_open()
    for name, path in trees:
        archive.restore("one", name, f"{path}-back", reuse=path)
        archive.remember("one", name, f"{path}-back")
    archive.close()


@pytest.mark.parametrize("work", [looked_at, put_back, lambda archive, _: archive.verify("one")])
def test_twice_as_many_trees_take_twice_the_calls(
    work: Callable[[Archive, list[tuple[str, str]]], object], tmp_path: Path
) -> None:
    few, more = saved(tmp_path / "few", 60), saved(tmp_path / "more", 120)
    time.sleep(0.1)  # what was read is kept only while nothing has changed just now
    fewer, all_of_it = calls(lambda: work(*few)), calls(lambda: work(*more))
    for name in ("chunks", "pick", "find", "openssl_sha256", "decode"):  # others depend on what processes there are
        assert all_of_it[name] <= RATIO_MAX * fewer[name], name
    assert all_of_it["decompressed"] == fewer["decompressed"] < 20  # what many trees share is read once


def test_twice_as_many_levels_take_twice_the_steps(tmp_path: Path) -> None:
    def work(levels: int) -> None:
        top = tmp_path / str(levels)
        folder = top / "work"
        for _ in range(levels):
            folder /= "d"
            folder.mkdir(parents=True)
            (folder / "page").write_text("page")
        time.sleep(0.1)
        archive = Archive(top / "store")
        archive.save([("t", str(top / "work"))], "one", {})
        archive.diff("one", "t", top / "work")
        archive.restore("one", "t", top / "back")
        archive.remember("one", "t", top / "back")

    few, more = calls(lambda: work(150)), calls(lambda: work(300))
    assert more["open_within"] <= RATIO_MAX * few["open_within"]
    assert more["_openat2"] <= more["open_within"] + 1  # whether the system has it is asked once
