"""Whoever seals, loads or takes a checkpoint may be killed at any instant, or find the disk full: old or new, whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from maestro.store.contract import Entry, Head, Store
from maestro.store.memory.memory_store import MemoryStore
from maestro.store.redis.redis_store import open_redis
from projections.projector import Projector
from replayers import checkpoint
from replayers.sealed import Segments
from replayers.verify import verify
from replayers.whole_file import PART
from tests.projections.histories import grow
from tests.replayers.test_sealing import seal
from tests.store.embedded.test_server_disk_full import DISKS_MIB, UNSHARE

KILLS = 25
SEED = int.from_bytes(os.urandom(4))


def killed(work: Callable[[], object], after_s: float) -> None:
    """Do it in a process of its own, which is killed after a while unless it has ended."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.fixture
def url(server_kind: str, shared_server: Callable[[str], Any]) -> str:
    return str(shared_server(server_kind).url)


def test_a_log_that_is_sealed_by_one_who_is_killed_is_the_same_log(
    url: str, namespace: str, open_at: Callable[..., Store], tmp_path: Path, short_ranges: None
) -> None:
    store, random = open_at(url), Random(SEED)
    known: list[Entry] = []
    number, window_s = 0, 0.03
    # At least so many kills, and on a slow machine as many as it takes until one of them has come so far as to trim.
    while number < KILLS or (store.log.first() == 1 and number < 8 * KILLS):
        for _ in grow(store, Random(number), 20, restores=True):
            pass
        Projector(store).catch_up()
        known += store.log.entries(len(known), 1_000_000)

        def work() -> None:
            other = open_redis(url, namespace)
            other.attach(Segments(tmp_path, namespace))
            seal(other, Segments(tmp_path, namespace))

        killed(work, random.uniform(0.0, window_s))
        store.attach(Segments(tmp_path, namespace))
        found = store.log.entries(0, 1_000_000)
        assert found[: len(known)] == known, f"seed {SEED}, kill {number}"
        known = found
        number += 1
        window_s *= 1.1 if store.log.first() == 1 else 1.0
    assert store.log.first() > 1, f"seed {SEED}: none came so far as to trim"
    Projector(store).catch_up()
    assert verify(store).ok, f"seed {SEED}"
    for part in tmp_path.rglob(f".*{PART}"):
        os.utime(part, (0, 0))
    seal(store, Segments(tmp_path, namespace))
    Segments(tmp_path, namespace).open()
    assert not list(tmp_path.rglob(f".*{PART}"))
    store.erase()


def test_a_load_that_is_killed_left_nothing_or_all_and_is_done_by_running_it_again(
    url: str, namespace: str, open_at: Callable[..., Store], tmp_path: Path, short_ranges: None
) -> None:
    past, empty, random = MemoryStore("past"), open_at(url), Random(SEED)
    for _ in grow(past, Random(2), 300, restores=True):
        pass
    whole = past.log.head()
    taken = checkpoint.write(past, tmp_path / "taken", whole.seq)
    for number in range(KILLS // 2):
        killed(lambda: checkpoint.load(open_redis(url, namespace), tmp_path / "taken"), random.uniform(0.0, 0.08))
        assert open_at(url).log.head() in (Head(), whole), f"seed {SEED}, kill {number}"
        assert checkpoint.load(empty, tmp_path / "taken") == taken
        assert empty.log.head() == whole
        assert empty.log.entries(0, 10_000) == past.log.entries(0, 10_000)
        empty.erase()


FULL = """
import json, os, sys
from pathlib import Path
from random import Random
from maestro.model.errors import Refused
from maestro.store.memory.memory_store import MemoryStore
from projections.projector import Projector
from replayers import checkpoint, ranges
from replayers.sealed import Segments
from tests.projections.histories import grow
from tests.replayers.test_sealing import seal

disk = Path(sys.argv[1])
ranges.LARGE, ranges.SMALL = 400, 100
store = MemoryStore("full")
for _ in grow(store, Random(1), 400):
    pass
Projector(store).catch_up()
whole = store.log.entries(0, 10_000)
sealed = Segments(disk / "segments", "full")
store.attach(sealed)
told = {}
with (disk / "filler").open("wb", 0) as filler:
    try:
        while filler.write(bytes(1 << 12)):
            pass
    except OSError:
        pass

def refused(work):
    try:
        work()
    except Refused as error:
        return error.line()
    return ""

told["sealing"] = refused(lambda: seal(store, sealed))
told["taking"] = refused(lambda: checkpoint.write(store, disk / "taken", len(whole)))
told["held"] = store.log.first()
told["left"] = [path.name for path in disk.rglob("*.part")] + [path.name for path in disk.rglob("*.seg")]
(disk / "filler").unlink()
told["sealed"] = seal(store, sealed)
told["same"] = store.log.entries(0, 10_000)[:len(whole)] == whole
print(json.dumps(told))
"""


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_a_full_disk_refuses_and_leaves_everything_as_it_was(disk_mib: int) -> None:
    mount = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", mount, "sh", folder, sys.executable, FULL],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "make room" in told["sealing"]
    assert "make room" in told["taking"]
    assert (told["held"], told["left"]) == (1, [])
    assert told["sealed"] > 0
    assert told["same"]
