"""What is no file in the place of one, in an archive or as an export: told in a line, and never waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.model.errors import MaestroError
from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.library import Archive

TRY = """
import sys
from maestro.model.errors import MaestroError
from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.library import Archive
try:
    what, path, stage = sys.argv[1:]
    if what == "export":
        open_export(path).verify()
    else:
        archive = Archive(path)
        archive.restore("one", "ws", stage)
        archive.verify("one")
except MaestroError as error:
    print(error.exit_code, error.line())
"""
SECONDS_MAX = 60


def tried(what: str, path: Path, stage: Path) -> str:
    """What a process of its own says of it, with little memory and little time."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n" + TRY
    argv = [sys.executable, "-c", limited, what, str(path), str(stage)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/file").write_bytes(os.urandom(1000))
    Archive(tmp_path / "store").save([("ws", str(tmp_path / "ws"))], "one", {})
    return tmp_path / "store"


def replace(path: Path, kind: str) -> None:
    if path.exists():
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "/proc/kmsg"])
def test_an_export_is_a_file(tmp_path: Path, kind: str) -> None:
    replace(tmp_path / "x.tar.gz", kind)
    told = tried("export", tmp_path / "x.tar.gz", tmp_path / "stage")
    assert told[:1] in ("2", "6", "4") and told.count("\n") == 1, told
    if kind in ("pipe", "folder", "/dev/zero"):
        assert told.startswith("2 ") and "no regular file" in told


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "/proc/kmsg"])
def test_each_file_of_an_archive_is_a_file(store: Path, tmp_path: Path, kind: str) -> None:
    places = [*(store / "packs").iterdir(), *(store / "manifests").iterdir(), store / "format"]
    places += [store / "caches/index", store / "scrub"]
    for number, place in enumerate(places):
        shutil.copytree(store, tmp_path / "kept", symlinks=True)
        replace(place, kind)
        told = tried("archive", store, tmp_path / f"stage-{number}")
        if place.name in ("index", "scrub"):
            assert told == "", "a cache is made anew"
        else:
            assert told[:1] in ("2", "6") and told.count("\n") == 1, (place, told)
        shutil.rmtree(store)
        (tmp_path / "kept").rename(store)


def test_a_link_that_a_person_made_to_an_export_is_followed(store: Path, tmp_path: Path) -> None:
    Archive(store).export("one", tmp_path / "x.tar.gz")
    (tmp_path / "latest.tar.gz").symlink_to("x.tar.gz")
    with open_export(tmp_path / "latest.tar.gz") as export:
        assert export.verify().snapshot == "one"
    with pytest.raises(MaestroError, match="a folder"):
        open_export(tmp_path)
