"""A checkpoint from anybody: what is no file in it, what is too large, and what no log of ours says is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from maestro.model import events as e
from maestro.model.errors import VerificationFailed
from maestro.model.events import NewEvent
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from replayers import checkpoint, registry, segments
from replayers.sealed import Segments
from tests.projections.histories import commit

TRY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
from pathlib import Path
from maestro.model.errors import MaestroError
from replayers import checkpoint
for look in (checkpoint.verify, checkpoint.registry):
    try:
        look(Path(sys.argv[1]))
        print("0")
    except MaestroError as error:
        print(error.exit_code, error.line())
"""
SECONDS_MAX = 120


def tried(folder: Path) -> list[str]:
    """What verify and registry say of it, in a process of its own with little memory and little time."""
    argv = [sys.executable, "-c", TRY, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture
def kind() -> str:
    """Where the log is that the checkpoints are of."""
    return "memory"


@pytest.fixture
def folder(past: Store, tmp_path: Path) -> Path:
    checkpoint.write(past, tmp_path / "taken", past.log.head().seq)
    return tmp_path / "taken"


@pytest.mark.parametrize("what", ["/dev/zero", "/proc/kmsg", "pipe", "folder", "itself"])
def test_each_of_its_files_is_a_file(folder: Path, what: str) -> None:
    assert tried(folder) == ["0", "0"]
    blob = next((folder / "blobs").rglob("*.zst"))
    segment = next((folder / "log").iterdir())
    for place in (folder / "registry.yaml", folder / "checkpoint.json", segment, blob):
        kept = folder.parent / "kept"
        place.rename(kept)
        if what == "pipe":
            os.mkfifo(place)
        elif what == "folder":
            place.mkdir()
        else:
            place.symlink_to(kept if what == "itself" else what)
        told = tried(folder)
        assert told[0][:1] in ("2", "3", "6"), (place, told)
        assert place.name != "registry.yaml" or told[1][:1] == "6", told
        place.rmdir() if what == "folder" else place.unlink()
        kept.rename(place)
    (folder / "log").rename(folder.parent / "log")
    (folder / "log").symlink_to(folder.parent / "log")
    assert tried(folder)[0].startswith("6 ")


def test_each_of_its_files_is_of_a_bounded_size(folder: Path) -> None:
    """They are sparse: an export of them is small."""
    segment = next((folder / "log").iterdir())
    blob = next((folder / "blobs").rglob("*.zst"))
    for place in (folder / "registry.yaml", folder / "checkpoint.json", segment, blob):
        whole = place.read_bytes()
        os.truncate(place, 1 << 38)
        told = tried(folder)
        assert (told[0].startswith("6 ") and "more than" in told[0]) or "larger than" in told[0], told
        place.write_bytes(whole)


def test_a_segment_that_unpacks_without_end_is_not_read_on(folder: Path) -> None:
    segment = next((folder / "log").iterdir())
    head = segments.header(segment)
    body = zstandard.ZstdCompressor(level=19, write_checksum=True).compressobj()
    block = (1 << 24).to_bytes(4, "little") + bytes(1 << 24)
    packed = b"".join(body.compress(block) for _ in range(40)) + body.flush()
    starts = list(range(head.first, head.first + 40))
    forged = segments.Header("x", head.first, head.first + 39, "", "c", starts, [], len(packed))
    raw = zstandard.ZstdCompressor(write_checksum=True).compress(segments.msgspec.json.encode(forged))
    segment.write_bytes(b"".join((segments.MAGIC, len(raw).to_bytes(4, "little"), raw, packed)))
    read = 0
    with pytest.raises(VerificationFailed, match="packed more than"):
        for _ in segments.blocks(segment, first=starts[-1]):
            read += 1
    assert read == 0


def test_no_two_agents_have_one_workspace() -> None:
    apart = [("ann", "north", "/w/ann"), ("ben", "south", "/w/ann"), ("cy", None, None), ("di", None, None)]
    registry.check_apart(apart, "x")
    for other in ("/w/ann", "/w/./ann", "/w//ann"):
        with pytest.raises(VerificationFailed, match=r"'ann' and 'eve'.*--workspace"):
            registry.check_apart([*apart, ("eve", "north", other)], "x")


def test_a_log_in_which_two_agents_have_one_workspace_is_refused(tmp_path: Path) -> None:
    store = MemoryStore("forged")
    for agent in ("ann", "ben"):
        fact = e.AgentAssigned(agent, "shell", {}, "/w", "/w/one", node="north")
        commit(store, NewEvent(f"agent:{agent}", fact))
    checkpoint.write(store, tmp_path / "taken", 2)
    with pytest.raises(VerificationFailed, match="'ann' and 'ben' have the same workspace"):
        checkpoint.verify(tmp_path / "taken")


def test_a_blob_of_sealed_history_is_a_file(tmp_path: Path) -> None:
    sealed = Segments(tmp_path, "n")
    path = sealed.blob_path("ab" * 32)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(VerificationFailed, match="no regular file"):
        sealed.blob("ab" * 32)
