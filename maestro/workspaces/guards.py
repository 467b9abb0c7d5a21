"""The rules which folders may be a workspace, and their refusals (`maestro/docs/workspaces.md`).

A workspace may not be or lie in a folder of the system or a folder of runs. It may not be, contain or lie in
MAESTRO_HOME or another agent's workspace. It may not be or contain a home directory or MAESTRO_WORKSPACE_ROOT.

Folders are compared by their real path, by the identity (device, inode) of each folder on the way, and by their address
in the file system, so that no link, bind mount (whole or part) or case-insensitive file system gets around the rules.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from maestro.model.errors import Invalid, Refused
from maestro.workspaces.addresses import Address, Mounts
from maestro.workspaces.folders import MARK, is_folder

_LEVELS_MAX = 200
_ANOTHER = "name another folder"

SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"),
    *("/System", "/Library", "/private/etc"),
)
"""Folders of the system: neither they nor anything in them may be a workspace."""
SYSTEM_TOPS = (
    *("/", "/home", "/lost+found", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var"),
    *("/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/log", "/var/mail", "/var/opt", "/var/spool"),
    *("/var/tmp", "/Applications", "/Users", "/Volumes", "/private", "/private/tmp", "/private/var"),
)
"""Folders of the system that may not be a workspace themselves; a folder in one of them may."""


class Claim(msgspec.Struct, frozen=True):
    """The folders of an existing agent on this host. home: MAESTRO_HOME of the agent's node."""

    agent: str
    workspace_root: str
    workspace: str | None = None
    home: str = ""


class _Place:
    """A resolved path.

    chain: identities of the folder itself, if it exists, and of all folders above it.
    address: of the folder in its file system.
    inner: addresses of what is mounted inside it.
    """

    def __init__(self, path: str | Path, mounts: Mounts) -> None:
        self.given = str(path)
        self.real = os.path.realpath(path)
        self.identity: tuple[int, int] | None = _identity(self.real)
        above = (str(folder) for folder in (Path(self.real), *Path(self.real).parents))
        self.chain = frozenset(found for folder in above if (found := _identity(folder)) is not None)
        self.address: Address | None = mounts.address(self.real)
        self.inner: list[Address] = mounts.below(self.real)

    def is_in(self, other: _Place) -> bool:
        """Whether this folder is `other`, or lies inside it."""
        if self.real == other.real or self.real.startswith(other.real.rstrip("/") + "/"):
            return True
        if other.identity is not None and other.identity in self.chain:
            return True
        return self.address is not None and other.address is not None and self.address.lies_in(other.address)

    def overlaps(self, other: _Place) -> str:
        """The relation of this folder to `other`: `is`, `contains`, `lies inside` or ""."""
        inside, around = self.is_in(other), other.is_in(self)
        if inside and around:
            return "is"
        if inside or _shown_in(self.address, other.inner):
            return "lies inside"
        return "contains" if around or _shown_in(other.address, self.inner) else ""


def _shown_in(address: Address | None, mounts: list[Address]) -> bool:
    """Whether one of these mounts shows the folder of that address, a folder around it, or a part of it."""
    return address is not None and any(address.lies_in(shown) or shown.lies_in(address) for shown in mounts)


def check_workspace(
    agent: str, workspace: str, *, root: str | Path, home: str | Path, claims: Iterable[Claim] = ()
) -> str:
    """The real path of a folder that `agent` may have as its workspace; it need not exist.

    root: the agent's MAESTRO_WORKSPACE_ROOT.
    home: MAESTRO_HOME, where the snapshot store is.
    claims: the agents of this host; a claim of `agent` itself does not count against it.

    Raises `Invalid`, `Refused`.
    """
    mounts = Mounts()
    place = _reserved(workspace, home, mounts)
    claims = list(claims)
    for one in dict.fromkeys(claim.home for claim in claims if claim.home):
        if relation := place.overlaps(_Place(one, mounts)):
            raise _refused(place, f"{relation} MAESTRO_HOME ({one})")
    for one in dict.fromkeys((str(root), *(claim.workspace_root for claim in claims if claim.workspace_root))):
        if _Place(one, mounts).is_in(place):
            mend = "name a folder below it, or elsewhere"
            raise _refused(place, f"is or contains MAESTRO_WORKSPACE_ROOT ({one})", mend)
    for claim in claims:
        if claim.agent == agent or claim.workspace is None:
            continue
        if relation := place.overlaps(_Place(claim.workspace, mounts)):
            raise _refused(place, f"{relation} the workspace of agent {claim.agent} ({claim.workspace})")
    runs = [Claim(agent, str(root)), *claims]
    for claim in runs:
        if place.is_in(_Place(f"{claim.workspace_root}/{claim.agent}", mounts)):
            raise _refused(place, f"is, or lies in, the folder of the runs of agent {claim.agent}")
    for folder in (Path(place.real), *Path(place.real).parents):
        if os.path.lexists(folder / MARK):
            raise _refused(place, f"is, or lies in, a folder of runs ({folder})")
    return place.real


def check_reserved(workspace: str, home: str | Path) -> None:
    """Refuse a folder that no agent may ever have: of the system, a home, MAESTRO_HOME, or anything but a folder.

    Raises `Invalid`, `Refused`.
    """
    _reserved(workspace, home, Mounts())


def _reserved(workspace: str, home: str | Path, mounts: Mounts) -> _Place:
    _check_text(workspace)
    place = _Place(workspace, mounts)
    _check_kind(place)
    _check_homes(place, mounts)
    _check_system(place, mounts)
    if relation := place.overlaps(_Place(home, mounts)):
        raise _refused(place, f"{relation} MAESTRO_HOME ({home})")
    return place


def check_elsewhere(agent: str, workspace: str, claims: Iterable[Claim] = ()) -> str:
    """Check a workspace on another host, which only that host's node can examine, by its path; the normalized path.

    claims: the agents of that host. Its node checks again when it makes the folder. Raises `Invalid`, `Refused`.
    """
    _check_text(workspace)
    path = "/" + os.path.normpath(workspace).lstrip("/")  # normpath keeps two leading slashes, as POSIX allows
    for why in _refusals_by_path(agent, path, claims):
        raise Refused(f"{path!r} {why}", where="workspace", mend=_ANOTHER)
    return path


def _refusals_by_path(agent: str, path: str, claims: Iterable[Claim]) -> Iterator[str]:
    """Yield the reasons why `agent` may not have `path` on another host, judged by paths alone."""

    def within(inner: str, outer: str) -> bool:
        return inner == outer or inner.startswith(outer.rstrip("/") + "/")

    if path in SYSTEM_TOPS or any(within(path, folder) for folder in SYSTEM):
        yield "is, or lies in, a folder of the system"
    for claim in claims:
        theirs = claim.workspace
        if claim.home and (within(path, claim.home) or within(claim.home, path)):
            yield f"is in, or contains, MAESTRO_HOME ({claim.home})"
        if claim.agent != agent and theirs is not None and (within(path, theirs) or within(theirs, path)):
            yield f"is in, or contains, the workspace of agent {claim.agent} ({theirs})"
        if within(path, f"{claim.workspace_root}/{claim.agent}"):
            yield f"is, or lies in, the folder of the runs of agent {claim.agent}"


def check_agent_id(agent: str, *, root: str | Path, claims: Iterable[Claim] = ()) -> None:
    """Refuse an agent id whose folder of runs would overlap another agent's workspace. Raises `Refused`."""
    mounts = Mounts()
    runs = _Place(f"{root}/{agent}", mounts)
    for claim in claims:
        if claim.workspace is not None and runs.overlaps(_Place(claim.workspace, mounts)):
            what = f"the runs of agent {agent} would lie in {runs.given!r}, but agent {claim.agent} works there"
            raise Refused(what, where="agent id", mend="give it another --name")


def check_root(root: str | Path, home: str | Path) -> None:
    """Refuse a MAESTRO_WORKSPACE_ROOT in MAESTRO_HOME, where no workspace may be. Raises `Refused`."""
    mounts = Mounts()
    if _Place(root, mounts).is_in(_Place(home, mounts)):
        what = f"{str(root)!r} is, or lies in, MAESTRO_HOME ({home})"
        raise Refused(what, where="MAESTRO_WORKSPACE_ROOT", mend=_ANOTHER)


def check_unchanged(workspace: str) -> None:
    """Check that a workspace, recorded by its real path, is still that folder and writable. Raises `Refused`."""
    if os.path.realpath(workspace) != workspace:
        raise Refused(f"{workspace!r} is now a link to elsewhere", where="workspace", mend="assign the agent again")
    if not is_folder(workspace):
        raise Refused(f"{workspace!r} is not there", where="workspace", mend="create it, or assign the agent again")
    if not os.access(workspace, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"{workspace!r} cannot be written", where="workspace", mend="change its mode or owner")


def unreadable(workspace: str) -> str:
    """Why a workspace, recorded by its real path, cannot be read; "" where it can. The text follows the path."""
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
    """Check that the path is a folder or absent, and that the lowest existing folder above it is one too."""
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


def _check_homes(place: _Place, mounts: Mounts) -> None:
    if place.real == "/" or place.identity == _identity("/"):
        raise _refused(place, "is the root of the file system")
    homes = {os.environ.get("HOME", ""), *(user.pw_dir for user in pwd.getpwall())}
    for home in sorted(home for home in homes if home.startswith("/") and home != "/" and os.path.lexists(home)):
        if _Place(home, mounts).is_in(place):
            raise _refused(place, f"is or contains a home directory ({home})")


def _check_system(place: _Place, mounts: Mounts) -> None:
    for folder in SYSTEM:
        if place.is_in(_Place(folder, mounts)):
            raise _refused(place, f"is, or lies in, a folder of the system ({folder})")
    for folder in SYSTEM_TOPS:
        if place.real == folder or (place.identity is not None and place.identity == _identity(folder)):
            raise _refused(place, f"is a folder of the system ({folder})")


def _refused(place: _Place, why: str, mend: str = _ANOTHER) -> Refused:
    told = repr(place.given) if place.given == place.real else f"{place.given!r} ({place.real!r})"
    return Refused(f"{told} {why}", where="workspace", mend=mend)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
