"""A shared archive, or the place for what is fetched from it, without room: told, and nothing half is left."""

from __future__ import annotations

from tests.runtime.small_disk import on_small_disk

SCRIPT = """
import json, os, sys
from pathlib import Path
from maestro.model.errors import MaestroError
from maestro.runtime.snapshots.shared.copying import Copies
from maestro.runtime.snapshots.shared.fetched_archive import FetchedArchive
from maestro.runtime.snapshots.shared.patience import Patience
from maestro.runtime.snapshots.shared.place import SharedPlace
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.objects.opening import opened

small, large = Path(sys.argv[1]), Path(sys.argv[2])
(large / "work").mkdir()
(large / "work" / "file").write_bytes(os.urandom(6 << 20))
(large / "shared").mkdir()
archive = Archive(large / "snapshots")
archive.save([("workspaces/ann", str(large / "work"))], "s-1", {})


def tried(action):
    try:
        action()
        return ""
    except MaestroError as error:
        return error.line()


told = {}
place = SharedPlace(opened(small.as_uri()), "ns")
told["copy"] = tried(lambda: Copies(place, "n-1", large, Patience(lambda: None)).add(archive, "s-1"))
told["left"] = sorted(str(path.relative_to(small)) for path in small.rglob("*") if path.is_file())
place = SharedPlace(opened((large / "shared").as_uri()), "ns")
Copies(place, "n-1", large, Patience(lambda: None)).add(archive, "s-1")
fetched = FetchedArchive(place, "n-1", small / "reached" / "n-1")
told["fetch"] = tried(lambda: fetched.verify("s-1"))
print(json.dumps(told))
"""


def test_without_room_it_is_told_where_and_nothing_half_is_left() -> None:
    told = on_small_disk(SCRIPT, mib=4)
    assert "No space left on device" in str(told["copy"]) and "file:///" in str(told["copy"])
    assert told["left"] == []
    assert "make room" in str(told["fetch"]) and "must be fetched" in str(told["fetch"])
