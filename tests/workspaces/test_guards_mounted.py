"""Guards against mounts: a bind mount of another agent's folder is that folder, under whatever path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.model.errors import Refused
from maestro.workspaces.guards import SYSTEM, SYSTEM_TOPS, Claim, check_elsewhere, check_reserved, check_workspace
from tests.store.embedded.test_server_disk_full import UNSHARE

SCRIPT = """
import subprocess, sys
from pathlib import Path
from maestro.model.errors import Refused
from maestro.workspaces.guards import Claim, check_workspace

place = Path(sys.argv[1])
for name in ("root", "home", "theirs/sub", "mine/mnt", "whole", "part", "cache", "shared/a", "up", "etc"):
    (place / name).mkdir(parents=True)

def bind(source, target):
    subprocess.run(["mount", "--bind", source, place / target], check=True)

def told(workspace, theirs="theirs"):
    claims = [Claim("other", str(place / "root"), str(place / theirs))]
    try:
        check_workspace("me", str(place / workspace), root=place / "root", home=place / "home", claims=claims)
    except Refused as refused:
        return refused.what.split(") ")[-1].split("' ")[-1].replace(str(place), "")
    return "fine"

bind(place / "theirs", "whole")
bind(place / "theirs/sub", "part")
bind(place / "theirs/sub", "mine/mnt")
bind("/etc", "etc")
for workspace in ("whole", "whole/new", "part", "part/new", "mine", "etc", "etc/new", "cache"):
    print(workspace, "|", told(workspace))
print("up", "|", told("theirs", "whole"))
print("inner", "|", told("part", "mine"))
"""

WATCHING = """
import subprocess, sys
from pathlib import Path
from maestro.runtime.provision.known_workspaces import look
from maestro.workspaces.addresses import current

place = Path(sys.argv[1])
workspace = place / "ws"
workspace.mkdir()
before = look(str(workspace), current())
assert look(str(workspace), current()) == before and current() is current()
for command in (["mount", "-t", "tmpfs", "none", workspace], ["umount", workspace]):
    subprocess.run(command, check=True)
    print(look(str(workspace), current()).shown == before.shown)
"""

THEIRS = "the workspace of agent other (/theirs)"


def said(script: str, place: Path) -> list[str]:
    """The lines that a script prints which may mount what it likes: nobody else sees that."""
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", script, str(place)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_mount_over_a_workspace_and_its_end_are_seen_at_once(tmp_path: Path) -> None:
    assert said(WATCHING, tmp_path) == ["False", "True"]


def test_what_a_mount_shows_is_refused_as_what_it_is(tmp_path: Path) -> None:
    assert dict(line.split(" | ") for line in said(SCRIPT, tmp_path)) == {
        "whole": f"is {THEIRS}",
        "whole/new": f"lies inside {THEIRS}",
        "part": f"lies inside {THEIRS}",
        "part/new": f"lies inside {THEIRS}",
        "mine": f"contains {THEIRS}",
        "etc": "is, or lies in, a folder of the system (/etc)",
        "etc/new": "is, or lies in, a folder of the system (/etc)",
        "cache": "fine",
        "up": "is the workspace of agent other (/whole)",
        "inner": "lies inside the workspace of agent other (/mine)",
    }


@pytest.mark.parametrize("folder", [*SYSTEM, *SYSTEM_TOPS, "/etc/new/deep", "/proc/self", "/usr/local/ws", "/bin/x"])
def test_folders_of_the_system_are_refused_here_and_elsewhere(folder: str, tmp_path: Path) -> None:
    if Path(folder).exists() or folder.count("/") > 1:
        with pytest.raises(Refused):
            check_workspace("me", folder, root=tmp_path / "root", home=tmp_path / "home")
        with pytest.raises(Refused):
            check_reserved(folder, tmp_path / "home")
    with pytest.raises(Refused):
        check_elsewhere("me", f"/x/..{folder}")
    with pytest.raises(Refused):
        check_elsewhere("me", f"/{folder}")


@pytest.mark.parametrize("folder", ["/var/tmp/x-new", "/opt/x-new", "/srv/x-new", "/mnt/x-new", "/var/lib/x-new"])
def test_folders_that_are_only_near_the_systems_are_fine(folder: str, tmp_path: Path) -> None:
    assert check_workspace("me", folder, root=tmp_path / "root", home=tmp_path / "home") == folder
    assert check_elsewhere("me", folder) == folder


def test_of_another_host_the_path_alone_is_compared() -> None:
    claims = [Claim("other", "/r", "/w/theirs", home="/h")]
    for refused in ("/w/theirs", "/w/theirs/x", "/w", "/h", "/h/x", "/r/other/t", "/w/a/../theirs"):
        with pytest.raises(Refused):
            check_elsewhere("me", refused, claims)
    assert check_elsewhere("other", "/w/theirs/", claims) == "/w/theirs"
    assert check_elsewhere("me", "/w/them", claims) == "/w/them"
