"""A snapshot enters no mount and names it; an exchange carries none off; a copy and a measure stay on their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workspaces.mounted import in_namespace

SAVE = """
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.library import Archive
child_process.FROM_FILES = {readers}
out = outside()
ws = place / "ws"
for folder in ("data", "inner/deep/er", "tmp"): (ws / folder).mkdir(parents=True)
(ws / "one").touch(); (ws / "inner/mine").write_text("x")
os.link(ws / "inner/mine", ws / "inner/also mine")
archive = Archive(place / "store")
archive.save([("ws", str(ws))], "before", {{}})
bind(out, ws / "data"); bind(out / "file", ws / "one"); tmpfs(ws / "tmp"); bind(out, ws / "inner/deep/er")
(ws / "tmp/file").write_text("not of this file system")
"""


@pytest.mark.parametrize("readers", [1, 1000])
@pytest.mark.parametrize("is_told", [True, False])
def test_a_snapshot_names_mounts_and_holds_nothing_of_them(readers: int, is_told: bool, tmp_path: Path) -> None:
    script = """
from maestro.workspaces.archive.write import scan
if not {is_told}: scan.mounts_below = lambda *_, **__: []
for turn in ("first", "second"):
    saved = archive.save([("ws", str(ws))], turn, {{}})
    print(saved.not_held, saved.left_out, saved.torn, archive.read(turn).content.meta)
    archive.verify(turn, saved.manifest)
    archive.restore(turn, "ws", place / turn)
    print(sorted(str(path.relative_to(place / turn)) for path in (place / turn).rglob("*")))
"""
    told = in_namespace((SAVE + script).format(readers=readers, is_told=is_told), tmp_path)
    mounts = ["ws/data", "ws/inner/deep/er", "ws/one", "ws/tmp"]
    held = ["inner", "inner/also mine", "inner/deep", "inner/mine"]
    assert told.splitlines() == [f"{mounts} [] [] {{'not_held': {mounts}}}", str(held)] * 2


def test_a_diff_looks_into_no_mount(tmp_path: Path) -> None:
    script = """
diff = archive.diff("before", "ws", ws)
print([change.path for change in (*diff.changed, *diff.deleted)])
"""
    assert in_namespace(SAVE.format(readers=1000) + script, tmp_path) == "[]"


@pytest.mark.parametrize("mounting", ["bind(out, ws / 'data')", "tmpfs(ws / 'data')", "bind(out / 'file', ws / 'one')"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("can_exchange", [False, True])
def test_an_exchange_carries_no_mount_off(mounting: str, late: bool, can_exchange: bool, tmp_path: Path) -> None:
    """late: it is mounted at the last moment, after all checks."""
    script = f"""
from maestro.model.errors import Refused
from maestro.workspaces import mounts
from maestro.workspaces.exchanges import exchange, pairs, places
out = outside()
other, ws = place / "other", place / "ws"
for folder in (other, ws / "data"): folder.mkdir(parents=True)
(ws / "one").write_text("old"); (other / "one").write_text("old")
real = pairs.exchange_folders
def exchanged(stage, target):
    if {late} and target == str(ws) and not mounts.mounts_below(ws) and not mounts.mounts_below(stage):
        {mounting}
    return {can_exchange} and real(stage, target)
pairs.exchange_folders = exchanged
if not {late}: {mounting}
with exchange.Exchange(place / "journal") as one:
    for target in (other, ws):
        stage = Path(one.stage(target)); stage.mkdir(); (stage / "one").write_text("new")
    try:
        one.commit()
    except Refused as error:
        print("is a mount point and would be moved" in error.line())
print([Path(found).relative_to(ws).name for found in mounts.mounts_below(ws)], is_whole())
print(sorted(path.name for path in place.iterdir()), (other / "one").read_text(), len(os.listdir(ws)))
try:
    places.check_place(ws)
except Refused as error:
    print("is a mount point and would be moved" in error.line())
"""
    name = "one" if "file" in mounting else "data"
    told = in_namespace(script, tmp_path).splitlines()
    assert told == ["True", f"['{name}'] True", "['journal', 'other', 'out', 'ws'] old 2", "True"]


def test_what_is_mounted_counts_for_no_limit_and_no_size(tmp_path: Path) -> None:
    script = """
from maestro.workspaces.usage import disk_bytes, size_of
out = outside()
(out / "large").write_bytes(bytes(5 << 20))
ws = place / "ws"
(ws / "data").mkdir(parents=True)
(ws / "mine").write_bytes(bytes(1 << 20))
bind(out, ws / "data"); (ws / "disk").mkdir(); tmpfs(ws / "disk"); (ws / "disk/x").write_bytes(bytes(5 << 20))
print(size_of(str(ws)), 1 << 20 <= disk_bytes((str(ws),)) < 2 << 20)
"""
    assert in_namespace(script, tmp_path) == "(1, 1048576) True"


def test_a_template_fills_an_empty_mount_point_in_place(tmp_path: Path) -> None:
    script = """
from maestro.workspaces.templates import fill
for folder in ("template", "bound", "ws"): (place / folder).mkdir()
(place / "template/file").write_text("x")
bind(place / "bound", place / "ws")
print(fill(place / "ws", str(place / "template")), os.listdir(place / "bound"), sorted(os.listdir(place)))
"""
    assert in_namespace(script, tmp_path) == "True ['file'] ['bound', 'template', 'ws']"
