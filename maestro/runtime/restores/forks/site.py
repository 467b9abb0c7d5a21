"""The folder of a fork: built beside its place under another name, and renamed when all of it is there.

<DIR>/home         MAESTRO_HOME of the fork
     /runs         MAESTRO_WORKSPACE_ROOT of the fork
     /agents/<id>  the workspaces of the agents of the history
     /env          what a shell reads to work with the fork
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from maestro.config import Settings, redact
from maestro.durable import FRESH, replace, sync_folder, try_lock
from maestro.folders import private_folder
from maestro.model.errors import MaestroError, Refused
from maestro.model.forks.fork import AGENTS, HOME, RUNS, Branch
from maestro.runtime.node.identity import Identity
from maestro.runtime.provision.settlement import kept_by
from maestro.runtime.restores.forks.own_places import BRANCH, ENV, branch_of
from maestro.store.embedded import embedded_server
from maestro.store.embedded.choice import Choice
from maestro.workspaces import guards
from maestro.workspaces.cleaning import remove_tree

SUFFIX = ".forking"
"""Of the folder that is being built."""
AGAIN = "repeat the command: it begins anew, and finishes what is in the log already"


class ForkSite:
    """The place of one fork. Its calls block.

    root: where the fork is to lie; stage: where it is built; home: its MAESTRO_HOME there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stage = root.parent / (root.name + SUFFIX)  # `/` has no name: it is refused below
        self.home = self.stage / HOME

    def check_new(self, into: str) -> None:
        """Check that the fork is not there already, as after a command whose answer was lost. Raises Refused."""
        there = branch_of(self.root / HOME)
        if there is not None and there.root == str(self.root):
            which = "is there already" if there.into == into else f"is there: {self.root} is its folder"
            what = f"the fork {there.into} of {there.source}, up to position {there.position}, {which}"
            env = shlex.quote(f"{self.root}/{ENV}")
            raise Refused(what, "--root", f"`. {env}` has a shell use it; or name another folder and namespace")

    def check(self, settings: Settings, claims: Iterable[guards.Claim]) -> None:
        """Check that a fork may lie there: nothing does yet, and it is nobody's. Raises Refused, Invalid."""
        neighbours = guards.Neighbours(settings.home, claims, kept_by(settings))
        for path in (self.root, self.stage):
            try:
                neighbours.check(SUFFIX, str(path), settings.workspace_root)
            except MaestroError as error:
                raise type(error)(error.what, "--root", error.mend) from None
        if self.root.is_symlink():
            raise Refused(f"{self.root} is a link", "--root", "name a folder that is not there yet")
        if self.root.exists() and any(self.root.iterdir()):
            raise Refused(f"{self.root} is not empty", "--root", "name a folder that is not there yet")

    def free(self) -> int | None:
        """How many bytes the disk has free on which it would lie; None where that cannot be told."""
        above = next(path for path in self.root.parents if path.is_dir())
        try:
            return shutil.disk_usage(above).free
        except OSError:
            return None

    @contextmanager
    def building(self) -> Iterator[None]:
        """Build the fork during the block, from nothing; what an earlier try has left is removed.

        Where the block fails nothing is left. Raises Refused while another command builds there, and where what lies
        there is no broken-off try of this fork.
        """
        private_folder(self.stage, "--root", tighten=True)
        handle = os.open(self.stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not try_lock(handle):
                raise Refused("another command is making a fork there", str(self.stage), "wait for its end")
            self._check_own()
            self._clear()
            for name in (HOME, RUNS, AGENTS):
                (self.stage / name).mkdir(mode=0o700)
            try:
                yield
            except BaseException:
                self._clear()
                self.stage.rmdir()
                raise
        finally:
            os.close(handle)

    def _check_own(self) -> None:
        """Check that what lies where it is built is of a try that was broken off, as it is about to be removed."""
        strange = {path.name for path in self.stage.iterdir()} - {HOME, RUNS, AGENTS, ENV, ENV + FRESH}
        branch = branch_of(self.home)
        if strange or (branch is not None and branch.root != str(self.root)):
            raise Refused(f"{self.stage} is there, and no fork that was broken off", "--root", "name another folder")

    def _clear(self) -> None:
        if self.home.is_dir():
            embedded_server.stop(self.home)
        for path in list(self.stage.iterdir()):
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            else:
                path.unlink()

    def write(self, branch: Branch, node: str, chosen: Choice, settings: Settings) -> None:
        """Write what makes the folder an installation: its node, its store, where it comes from, and `env`."""
        replace(self.home / "node.json", msgspec.json.encode(Identity(node)))
        kind = "embedded" if chosen.kind == "embedded" else "server"
        url = "" if kind == "embedded" else without_secrets(chosen.url)
        store = {"kind": kind, "url": url, "why": f"it is a fork of the namespace {branch.source}"}
        replace(self.home / "store.json", msgspec.json.encode(store) + b"\n")
        replace(self.home / BRANCH, msgspec.json.encode(branch) + b"\n")
        replace(self.stage / ENV, _env(branch, chosen, settings.redis_url).encode())

    def place(self) -> None:
        """Give the fork its name: from here on it is there."""
        try:
            self.stage.rename(self.root)
            sync_folder(self.root.parent)
        except OSError as error:
            raise Refused(f"{self.stage} cannot be renamed: {error.strerror}", str(self.root), AGAIN) from None


def without_secrets(url: str) -> str:
    """The URL of a store without user and password, and without what else in it `config.redact` takes for a secret."""
    if redact(url) == url:
        return url
    parts = urlsplit(url)
    kept = [each for each in parts.query.split("&") if redact(f"?{each}") == f"?{each}"]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="&".join(kept)))


def _env(branch: Branch, chosen: Choice, url: str | None) -> str:
    """The file `env`. url: the store as the caller has set it, None where it is unset."""
    lines = [
        f"# The fork {branch.into} of the namespace {branch.source}, from position {branch.position}.",
        f"# Use it by `. {shlex.quote(branch.root)}/env`.",
        f"export MAESTRO_HOME={shlex.quote(branch.root)}/{HOME}",
        f"export MAESTRO_NAMESPACE={branch.into}",
        f"export MAESTRO_WORKSPACE_ROOT={shlex.quote(branch.runs)}",
        # Two forks, each with a private store, may have the same name and have the same node: what they share but the
        # store would be written, and collected, by both.
        f"export MAESTRO_SEGMENTS_DIR={shlex.quote(branch.root)}/{HOME}/segments",
        "export MAESTRO_ARCHIVE_URL=none",
    ]
    if url is None:
        lines.append("unset MAESTRO_REDIS_URL")
    elif without_secrets(url) == url:
        lines.append(f"export MAESTRO_REDIS_URL={shlex.quote(chosen.url)}")
    else:
        lines.append("# MAESTRO_REDIS_URL has to be set as it was: it holds a secret, which is written nowhere.")
    return "\n".join(lines) + "\n"
