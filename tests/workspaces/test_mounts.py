"""No walk leaves a workspace by a mount: bind mounts of one file system too, of files too, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workspaces.mounted import in_namespace

FILTERED = """
from maestro.workspaces import mounts
if {filtered}:
    mounts._has_openat2 = lambda: False
"""


@pytest.fixture(params=["openat2", "fdinfo"])
def door(request: pytest.FixtureRequest) -> str:
    """The system call, and what stands in for it where a filter refuses it."""
    return FILTERED.format(filtered=request.param == "fdinfo")


def test_mounts_are_named_wherever_they_lie(door: str, tmp_path: Path) -> None:
    script = """
out = outside()
ws = place / "ws"
for folder in ("b", "sub folder/a\\n\\rb", "other", "covered/inner"): (ws / folder).mkdir(parents=True)
(ws / "one").touch()
bind(out, ws / "b"); bind(out / "file", ws / "one"); bind(out, ws / "sub folder/a\\n\\rb"); tmpfs(ws / "other")
bind(out, ws / "covered/inner"); tmpfs(ws / "covered")
print([str(Path(found).relative_to(ws)) for found in mounts.mounts_below(ws)])
real, mounts._listed = mounts._listed, lambda inside: None
print([str(Path(found).relative_to(ws)) for found in mounts.mounts_below(ws)])
print(mounts.mounts_below(place / "absent"), mounts.mounts_below(ws / "b"))
print(mounts.is_mount(ws), mounts.is_mount(ws / "one"))
"""
    named = str(["b", "covered", "one", "other", "sub folder/a\n\rb"])
    assert in_namespace(door + script, tmp_path).splitlines() == [named, named, "[] []", "False True"]


@pytest.mark.parametrize("how", ["clean(ws)", "remove_tree(ws)"])
@pytest.mark.parametrize(
    "mounting",
    [
        "bind(out, ws / 'data')",
        "bind(out / 'file', ws / 'inner/file')",
        "bind(out, ws / 'inner/deeper/still')",
        "tmpfs(ws / 'inner/deeper/still')",
    ],
)
@pytest.mark.parametrize("is_told", [True, False])
def test_nothing_outside_is_removed(door: str, how: str, mounting: str, is_told: bool, tmp_path: Path) -> None:
    """is_told: the list of mounts names it before anything is touched; else the walk meets it."""
    script = f"""
from maestro.model.errors import Refused
from maestro.workspaces import cleaning
from maestro.workspaces.cleaning import clean, remove_tree
out = outside()
ws = place / "ws"
for folder in ("data", "inner/deeper/still"): (ws / folder).mkdir(parents=True)
(ws / "inner/file").touch()
(ws / "mine").write_text("x")
{mounting}
where = mounts.mounts_below(ws)[0]
if not {is_told}: cleaning.check_no_mounts = lambda *_: None
try:
    {how}
except Refused as error:
    print(error.line().startswith(f"workspace: {{where!r}} is a mount point"))
    print(is_whole(), mounts.mounts_below(ws) == [where])
    print((ws / "mine").exists() or not {is_told})
"""
    assert in_namespace(door + script, tmp_path) == "True\nTrue True\nTrue"


def test_a_workspace_that_is_a_mount_point_is_emptied_and_not_removed(door: str, tmp_path: Path) -> None:
    script = """
from maestro.model.errors import Refused
from maestro.workspaces.cleaning import clean, remove_tree
out = outside()
ws = place / "ws"
ws.mkdir()
tmpfs(ws)
(ws / "a/b").mkdir(parents=True)
clean(ws)
print(os.listdir(ws), mounts.is_mount(ws))
subprocess.run(["umount", ws], check=True)
bind(out, ws)
try:
    remove_tree(ws)
except Refused as error:
    print(is_whole(), f"{str(ws)!r} is a mount point" in error.line())
"""
    assert in_namespace(door + script, tmp_path) == "[] True\nTrue True"
