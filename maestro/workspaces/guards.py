"""Which folders may be a workspace: the refusals of SPEC.md 4.

Places are compared by their real path and by the identity (device, inode) of each folder on the way, so that a link,
a bind mount or a file system that ignores case is no way around.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from maestro.model.errors import Invalid, Refused
from maestro.workspaces.folders import MARK, is_folder

_LEVELS_MAX = 200
_ANOTHER = "name another folder"


class Claim(msgspec.Struct, frozen=True):
    """An agent that is there already, as the node that the guards run on sees it."""

    agent: str
    workspace_root: str
    workspace: str | None = None


class _Place:
    """A path, resolved. chain: the identities of itself, if it exists, and of all folders above it."""

    def __init__(self, path: str | Path) -> None:
        self.given = str(path)
        self.real = os.path.realpath(path)
        self.identity: tuple[int, int] | None = _identity(self.real)
        above = (str(folder) for folder in (Path(self.real), *Path(self.real).parents))
        self.chain = frozenset(found for folder in above if (found := _identity(folder)) is not None)

    def is_in(self, other: _Place) -> bool:
        """Whether it is `other` or lies inside it."""
        if self.real == other.real or self.real.startswith(other.real.rstrip("/") + "/"):
            return True
        return other.identity is not None and other.identity in self.chain

    def overlaps(self, other: _Place) -> str:
        """`is`, `contains`, `lies inside` or ""."""
        inside, around = self.is_in(other), other.is_in(self)
        return "is" if inside and around else "lies inside" if inside else "contains" if around else ""


def check_workspace(
    agent: str, workspace: str, *, root: str | Path, home: str | Path, claims: Iterable[Claim] = ()
) -> str:
    """The real path of a folder that `agent` may have as its workspace; it need not exist.

    root: the agent's MAESTRO_WORKSPACE_ROOT; home: MAESTRO_HOME, where the snapshot store is; claims: the other
    agents of this node (one of `agent` itself does not count as another). Raises `Invalid`, `Refused`.
    """
    place = check_reserved(workspace, home)
    if _Place(root).is_in(place):
        raise _refused(place, f"is or contains MAESTRO_WORKSPACE_ROOT ({root})", "name a folder below it, or elsewhere")
    claims = list(claims)
    for claim in claims:
        if claim.agent == agent or claim.workspace is None:
            continue
        if relation := place.overlaps(_Place(claim.workspace)):
            raise _refused(place, f"{relation} the workspace of agent {claim.agent} ({claim.workspace})")
    runs = [Claim(agent, str(root)), *claims]
    for claim in runs:
        if place.is_in(_Place(f"{claim.workspace_root}/{claim.agent}")):
            raise _refused(place, f"is, or lies in, the folder of the runs of agent {claim.agent}")
    for folder in (Path(place.real), *Path(place.real).parents):
        if os.path.lexists(folder / MARK):
            raise _refused(place, f"is, or lies in, a folder of runs ({folder})")
    return place.real


def check_reserved(workspace: str, home: str | Path) -> _Place:
    """A folder that no agent may ever have, whoever names it: of the system, a home, MAESTRO_HOME; no folder at all.

    Raises `Invalid`, `Refused`.
    """
    _check_text(workspace)
    place = _Place(workspace)
    _check_kind(place)
    _check_homes(place)
    if relation := place.overlaps(_Place(home)):
        raise _refused(place, f"{relation} MAESTRO_HOME ({home})")
    return place


def check_agent_id(agent: str, *, root: str | Path, claims: Iterable[Claim] = ()) -> None:
    """An id whose folder of runs would be, contain or lie in somebody's workspace is refused. Raises `Refused`."""
    runs = _Place(f"{root}/{agent}")
    for claim in claims:
        if claim.workspace is not None and runs.overlaps(_Place(claim.workspace)):
            what = f"the runs of agent {agent} would lie in {runs.given!r}, but agent {claim.agent} works there"
            raise Refused(what, where="agent id", mend="give it another --name")


def check_root(root: str | Path, home: str | Path) -> None:
    """MAESTRO_WORKSPACE_ROOT is not in MAESTRO_HOME, where no workspace may be. Raises `Refused`."""
    if _Place(root).is_in(_Place(home)):
        what = f"{str(root)!r} is, or lies in, MAESTRO_HOME ({home})"
        raise Refused(what, where="MAESTRO_WORKSPACE_ROOT", mend=_ANOTHER)


def check_unchanged(workspace: str) -> None:
    """A workspace, as recorded by its real path, is still that folder and can be used. Raises `Refused`."""
    if os.path.realpath(workspace) != workspace:
        raise Refused(f"{workspace!r} is now a link to elsewhere", where="workspace", mend="assign the agent again")
    if not is_folder(workspace):
        raise Refused(f"{workspace!r} is not there", where="workspace", mend="create it, or assign the agent again")
    if not os.access(workspace, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"{workspace!r} cannot be written", where="workspace", mend="change its mode or owner")


def unreadable(workspace: str) -> str:
    """Why a workspace, as recorded by its real path, cannot be read; "" where it can. In words after its name."""
    try:
        found = os.lstat(workspace)
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    if stat.S_ISLNK(found.st_mode) or os.path.realpath(workspace) != workspace:
        return "is now a link"
    if not stat.S_ISDIR(found.st_mode):
        return "is no folder any more"
    return "" if os.access(workspace, os.R_OK | os.X_OK) else "cannot be read"


def _check_text(workspace: str) -> None:
    if not workspace.startswith("/") or "\0" in workspace:
        raise Invalid(f"{workspace!r} is no absolute path", where="workspace", mend="write it from / on")
    parts = os.fsencode(workspace).split(b"/")
    if sum(map(len, parts)) > 3800 or len(parts) > _LEVELS_MAX or any(len(part) > 255 for part in parts):
        raise Invalid("the path is too long", where="workspace", mend="use a shorter one")


def _check_kind(place: _Place) -> None:
    """It is a folder, or nothing yet, and so is what it would lie in."""
    for folder in (Path(place.real), *Path(place.real).parents):
        try:
            found = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _refused(place, f"cannot be reached: {error.strerror}") from None
        if not stat.S_ISDIR(found.st_mode):
            raise _refused(place, "is a file" if folder == Path(place.real) else f"lies below a file ({folder})")
        return


def _check_homes(place: _Place) -> None:
    if place.real == "/" or place.identity == _identity("/"):
        raise _refused(place, "is the root of the file system")
    homes = {os.environ.get("HOME", ""), *(user.pw_dir for user in pwd.getpwall())}
    for home in sorted(home for home in homes if home.startswith("/") and home != "/" and os.path.lexists(home)):
        if _Place(home).is_in(place):
            raise _refused(place, f"is or contains a home directory ({home})")


def _refused(place: _Place, why: str, mend: str = _ANOTHER) -> Refused:
    told = repr(place.given) if place.given == place.real else f"{place.given!r} ({place.real!r})"
    return Refused(f"{told} {why}", where="workspace", mend=mend)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
