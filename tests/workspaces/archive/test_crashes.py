"""Killed at any instant: what there was is there, what was begun is there wholly or not at all, nothing is locked.

KILLS=300 kills each of the four that often; the seed is printed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.write import collection
from maestro.workspaces.exchanges.exchange import Exchange
from tests.runtime.acting import until
from tests.workspaces.archive.trees import Told, told

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("KILLS", "6"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**6))


def run(act: str, place: Path, at: int, after_s: float | None = None) -> str:
    argv = [sys.executable, "-m", "tests.workspaces.archive.dying", act, str(place), str(at)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), err
    until(lambda: not beside_of(place))
    return out


def beside_of(place: Path) -> list[int]:
    """The processes that were started beside one that works there: they end with it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(place / "store") in process.cmdline():
                found.append(process.pid)
    return found


def prepare(place: Path) -> dict[str, dict[bytes, Told]]:
    """An archive with a snapshot to keep and one to collect, and a workspace that is like neither."""
    workspace = place / "ws"
    workspace.mkdir(parents=True)
    for number in range(30):
        (workspace / f"folder-{number % 5}").mkdir(exist_ok=True)
        (workspace / f"folder-{number % 5}" / str(number)).write_bytes(os.urandom(3000))
    (workspace / "large").write_bytes(os.urandom(2 << 20))
    time.sleep(0.1)
    archive = Archive(place / "store")
    archive.save([("ws", str(workspace))], "kept", {})
    kept = told(workspace)
    shutil.rmtree(workspace / "folder-0")
    (workspace / "more").write_bytes(os.urandom(2 << 20))
    archive.save([("ws", str(workspace))], "spare", {})
    (workspace / "folder-1/1").write_bytes(b"changed")
    (workspace / "link").symlink_to("more")
    (workspace / "empty").mkdir()
    archive.export("spare", place / "out.tar.gz")
    return {"kept": kept, "now": told(workspace)}


def check_archive(place: Path) -> Archive:
    archive = Archive(place / "store")
    assert not list((place / "store/fresh").iterdir())
    assert "kept" in [found.snapshot for found in archive.snapshots()]
    for found in archive.snapshots():
        archive.verify(found.snapshot)
    return archive


def check_save(place: Path, states: dict[str, dict[bytes, Told]]) -> None:
    archive = check_archive(place)
    if "new" not in [found.snapshot for found in archive.snapshots()]:
        archive.save([("ws", str(place / "ws"))], "new", {})
    archive.restore("new", "ws", place / "stage")
    assert told(place / "stage") == states["now"]


def check_collect(place: Path, states: dict[str, dict[bytes, Told]]) -> None:
    archive = check_archive(place)
    archive.collect(["kept"])
    archive.verify("kept")
    archive.restore("kept", "ws", place / "stage")
    assert told(place / "stage") == states["kept"]


def check_export(place: Path, states: dict[str, dict[bytes, Told]]) -> None:
    with open_export(place / "out.tar.gz") as export:
        assert export.verify().snapshot in ("spare", "kept")
    check_archive(place).export("kept", place / "out.tar.gz")
    with open_export(place / "out.tar.gz") as export:
        export.restore({"ws": place / "stage"})
    assert told(place / "stage") == states["kept"]
    assert not list(place.glob(".*"))


def check_restore(place: Path, states: dict[str, dict[bytes, Told]]) -> None:
    with Exchange(place / "journal"):
        pass
    assert told(place / "ws") in (states["kept"], states["now"])
    assert sorted(os.listdir(place)) == ["journal", "out.tar.gz", "store", "ws"]
    check_archive(place)


CHECKS = {"save": check_save, "collect": check_collect, "export": check_export, "restore": check_restore}


def test_a_collection_that_is_broken_off_behind_its_first_pack_has_none_count_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(layout: Layout) -> None:
        raise KeyboardInterrupt

    prepare(tmp_path)
    archive = Archive(tmp_path / "store")
    before = len(list((tmp_path / "store/packs").iterdir()))
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(collection, "_release", broken_off)
        archive.collect(["kept"])
    assert len(list((tmp_path / "store/packs").iterdir())) < before
    archive.verify("kept")
    assert not list((tmp_path / "store/quarantine").iterdir())


@pytest.mark.parametrize("act", list(CHECKS))
def test_killed_at_any_instant_it_is_old_or_new(act: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    states = prepare(tmp_path / "whole")
    began = time.monotonic()
    instants = int(run(act, tmp_path / "whole", 0))
    took = time.monotonic() - began
    CHECKS[act](tmp_path / "whole", states)
    for number in range(KILLS):
        place = tmp_path / str(number)
        states = prepare(place)
        if number % 3 == 2:
            when = chance.uniform(took / 4, took)
            print(f"{act}: SEED={SEED}, killed after {when:.3f} s")
            run(act, place, 0, when)
        else:
            at = chance.randint(1, instants) if number % 3 else instants - chance.randrange(min(60, instants))
            print(f"{act}: SEED={SEED}, killed at {at} of {instants}")
            run(act, place, at)
        CHECKS[act](place, states)
        shutil.rmtree(place)
