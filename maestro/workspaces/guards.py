"""The rules which folders may be a workspace, and their refusals (`maestro/docs/workspaces.md`).

A workspace may not be or lie in a folder of the system or a folder of runs. It may not be, contain or lie in
MAESTRO_HOME, another agent's workspace, or what Maestro keeps elsewhere. It may not be or contain a home directory or
MAESTRO_WORKSPACE_ROOT. Nor may a file that a command writes lie in any of them.

Folders are compared by their real path, by the identity (device, inode) of each folder on the way, and by their address
in the file system, so that no link, bind mount (whole or part) or case-insensitive file system gets around the rules.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from maestro.model.errors import Invalid, Refused
from maestro.workspaces import workflow_folders
from maestro.workspaces.folders import MARK, is_folder
from maestro.workspaces.ground import Ground, Identity, Place, levels
from maestro.workspaces.territory import Territory

_LEVELS_MAX = 200
_ANOTHER = "name another folder"
EXPORTS = "exports"
"""The folder in MAESTRO_HOME to which commands may write files."""

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


class Neighbours:
    """The folders of this host that no workspace may overlap, looked at once for any number of checks.

    home: MAESTRO_HOME, where the snapshot store is.
    claims: the agents of this host; a claim of an agent itself does not count against it.
    kept: what Maestro keeps elsewhere: folders, each with what it is in words.
    """

    def __init__(
        self, home: str | Path, claims: Iterable[Claim] = (), kept: Iterable[tuple[str | Path, str]] = ()
    ) -> None:
        self._home, self._ground = home, Ground()
        self._kept = list(kept)
        self._homes: dict[str, None] = {}
        self._root_names: set[str] = set()
        self._roots, self._workspaces, self._runs = (Territory(self._ground) for _ in range(3))
        for claim in claims:
            self.add(claim)

    def add(self, claim: Claim) -> None:
        """Take the folders of one more agent into account."""
        if claim.home:
            self._homes[claim.home] = None
        root = claim.workspace_root
        if root and root not in self._root_names:
            self._root_names.add(root)
            self._roots.add(root, root)
            self._runs.add(f"{root}/{workflow_folders.NAME}", "")
        if claim.workspace is not None:
            self._workspaces.add(claim.workspace, claim.agent)
        self._runs.add(f"{root}/{claim.agent}", claim.agent)

    def check(self, agent: str, workspace: str, root: str | Path) -> str:
        """The real path of a folder that `agent` may have as its workspace; it need not exist.

        root: the agent's MAESTRO_WORKSPACE_ROOT.

        Raises `Invalid`, `Refused`.
        """
        place = self.check_reserved(workspace)
        for one in self._homes:
            if relation := place.overlaps(self._ground.place(one)):
                raise _refused(place, f"{relation} MAESTRO_HOME ({one})")
        for folder, what in self._kept:
            if relation := place.overlaps(self._ground.place(folder)):
                raise _refused(place, f"{relation} {what} ({folder})")
        own = self._ground.place(root)
        if (above := own if own.is_in(place) else self._roots.within(place)) is not None:
            named = above.given if isinstance(above, Place) else above.place.given
            mend = "name a folder below it, or elsewhere"
            raise _refused(place, f"is or contains MAESTRO_WORKSPACE_ROOT ({named})", mend)
        if found := self._workspaces.overlap(place, but=agent):
            held, relation = found
            raise _refused(place, f"{relation} the workspace of agent {held.owner} ({held.place.given})")
        runs = self._runs.around(place)
        own = self._ground.place(f"{root}/{workflow_folders.NAME}")
        if place.is_in(own) or (runs is not None and not runs.owner):
            raise _refused(place, "is, or lies in, the folder of the runs of workflows")
        if runs is not None or place.is_in(self._ground.place(f"{root}/{agent}")):
            owner = agent if runs is None else runs.owner
            raise _refused(place, f"is, or lies in, the folder of the runs of agent {owner}")
        for folder in levels(place.real):
            if self._ground.status(f"{folder.rstrip('/')}/{MARK}") is not None:
                raise _refused(place, f"is, or lies in, a folder of runs ({folder})")
        return place.real

    def check_file(self, path: str, where: str) -> None:
        """Refuse a file that a command would write where it would be a part of what lies there. Raises `Refused`.

        A snapshot that lies in a workspace would be in the next one, and be taken away by a restore; in an archive it
        would lie among what is collected. where: what names it.
        """
        place = self._ground.place(Path(path).parent)
        if whose := self._whose(place):
            raise Refused(f"{path!r} would lie in {whose}", where, "name a file elsewhere")

    def _whose(self, place: Place) -> str:
        """Which of these folders a place is in, in words; "" for none."""
        homes = dict.fromkeys([str(self._home), *self._homes])
        if any(place.is_in(self._ground.place(f"{home}/{EXPORTS}")) for home in homes):
            return ""
        for folder, what in [*((home, "MAESTRO_HOME") for home in homes), *self._kept]:
            if place.is_in(self._ground.place(folder)):
                return f"{what} ({folder})"
        if (held := self._workspaces.around(place)) is not None:
            return f"the workspace of agent {held.owner} ({held.place.given})"
        if (held := self._runs.around(place)) is not None:
            return f"a folder of runs ({held.place.given})"
        return ""

    def enter(self, agent: str, workspace: str) -> None:
        """Take a workspace into account that was made since."""
        self._ground.forget_absent(workspace)
        self._workspaces.add(workspace, agent)

    def check_reserved(self, workspace: str) -> Place:
        """Refuse a folder that no agent may ever have: of the system, a home, MAESTRO_HOME, or anything but a folder.

        Raises `Invalid`, `Refused`.
        """
        _check_text(workspace)
        place = self._ground.place(workspace)
        _check_kind(place)
        self._check_users(place)
        self._check_system(place)
        if relation := place.overlaps(self._ground.place(self._home)):
            raise _refused(place, f"{relation} MAESTRO_HOME ({self._home})")
        return place

    def check_agent_id(self, agent: str, root: str | Path) -> None:
        """Refuse an agent id whose folder of runs would overlap another agent's workspace. Raises `Refused`."""
        runs = self._ground.place(f"{root}/{agent}")
        if found := self._workspaces.overlap(runs):
            what = f"the runs of agent {agent} would lie in {runs.given!r}, but agent {found[0].owner} works there"
            raise Refused(what, where="agent id", mend="give it another --name")

    @cached_property
    def _users(self) -> Territory:
        """The home directories of the users of this host."""
        homes = {os.environ.get("HOME", ""), *(user.pw_dir for user in pwd.getpwall())}
        there = (home for home in sorted(homes) if home.startswith("/") and home != "/" and os.path.lexists(home))
        return Territory(self._ground, ((home, home) for home in there))

    @cached_property
    def _system(self) -> Territory:
        return Territory(self._ground, ((folder, folder) for folder in SYSTEM))

    def _check_users(self, place: Place) -> None:
        if place.real == "/" or place.identity == self._ground.identity("/"):
            raise _refused(place, "is the root of the file system")
        if (home := self._users.within(place)) is not None:
            raise _refused(place, f"is or contains a home directory ({home.owner})")

    def _check_system(self, place: Place) -> None:
        if (folder := self._system.around(place)) is not None:
            raise _refused(place, f"is, or lies in, a folder of the system ({folder.owner})")
        for top in SYSTEM_TOPS:
            if place.real == top or (place.identity is not None and place.identity == _identity(top)):
                raise _refused(place, f"is a folder of the system ({top})")


def check_workspace(
    agent: str, workspace: str, *, root: str | Path, home: str | Path, claims: Iterable[Claim] = ()
) -> str:
    """Check one workspace, as `Neighbours.check` does."""
    return Neighbours(home, claims).check(agent, workspace, root)


def check_reserved(workspace: str, home: str | Path) -> None:
    """Refuse a folder that no agent may ever have, as `Neighbours.check_reserved` does."""
    Neighbours(home).check_reserved(workspace)


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
        if claim.workspace_root and within(path, f"{claim.workspace_root}/{workflow_folders.NAME}"):
            yield "is, or lies in, the folder of the runs of workflows"
        if within(path, f"{claim.workspace_root}/{claim.agent}"):
            yield f"is, or lies in, the folder of the runs of agent {claim.agent}"


def check_agent_id(agent: str, *, root: str | Path, claims: Iterable[Claim] = ()) -> None:
    """Refuse the id of one agent, as `Neighbours.check_agent_id` does."""
    Neighbours("/", claims).check_agent_id(agent, root)


def check_root(root: str | Path, home: str | Path) -> None:
    """Refuse a MAESTRO_WORKSPACE_ROOT in MAESTRO_HOME, where no workspace may be. Raises `Refused`."""
    ground = Ground()
    if ground.place(root).is_in(ground.place(home)):
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


def _check_kind(place: Place) -> None:
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


def _refused(place: Place, why: str, mend: str = _ANOTHER) -> Refused:
    told = repr(place.given) if place.given == place.real else f"{place.given!r} ({place.real!r})"
    return Refused(f"{told} {why}", where="workspace", mend=mend)


def _identity(path: str) -> Identity | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
