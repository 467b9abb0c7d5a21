"""The names of all keys of a namespace: the one place where key strings are built.

All of them share the hash tag `{<namespace>}`, so that scripts work on a cluster, and the prefix `maestro:`, so that an
ACL user needs `~maestro:{<namespace>}:*` only.
"""

from __future__ import annotations

import re

from maestro.model.errors import Invalid

NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WORKERS = "workers"
LAYOUT = 1
"""The version of a generation's layout: 1 with sizes and checksums, 0 without. It only grows.

Each layout has a pointer of its own to the generation that readers use, so that nodes of a release with another one go
on with theirs: that of layout 0 is `views`. (Up to 1.2.0 a node read whatever the one pointer named, and failed.)
"""
FLOOR = ""
"""The field of the versions hash that holds the floor: no subject has this name."""
HORIZON = "sealed"
"""The field of the versions hash that holds the horizon (`LogStore.forget`): no subject has this name, without a colon.
"""
FORGOTTEN = frozenset({"task", "run", "state", "workflow-run", "snapshot", "restore", "alert", "delivery", "forward"})
"""The kinds of subjects whose versions may be forgotten: those that grow without bound, and whose end is known."""


def may_be_forgotten(subject: str) -> bool:
    """Whether the version of a subject may ever be forgotten."""
    return subject.partition(":")[0] in FORGOTTEN


class Keys:
    """The keys of one namespace. Raises `Invalid` for a name that could be mistaken for a pattern or a hash tag."""

    def __init__(self, namespace: str) -> None:
        if not NAMESPACE.fullmatch(namespace):
            raise Invalid(
                f"{namespace!r} cannot be a namespace",
                "MAESTRO_NAMESPACE",
                "use 1 to 64 letters, digits, dots, dashes and underscores",
            )
        self.prefix = f"maestro:{{{namespace}}}:"
        self.log = self.prefix + "log"
        self.versions = self.prefix + "versions"
        self.cursors = self.prefix + "cursors"
        self.views = f"{self.prefix}views:{LAYOUT}"
        self.older_views = self.prefix + "views"
        self.blobs = self.prefix + "blobs"
        self.everything = f"maestro:\\{{{namespace}\\}}:*"

    def loading(self, token: str, what: str) -> str:
        """A temporary key that is being filled, and renamed once it is complete."""
        return f"{self.prefix}loading:{token}:{what}"

    def work(self, stream: str) -> str:
        """The work stream of a node, or the shared one for ""."""
        return f"{self.prefix}work:{stream}" if stream else f"{self.prefix}work"

    def lease(self, lease: str) -> str:
        """The key whose value is the holder of a lease."""
        return f"{self.prefix}lease:{lease}"

    def sample(self, sample: str) -> str:
        """The key of a heartbeat such as `agent:<id>:last_heartbeat`."""
        return self.prefix + sample

    def view(self, generation: str) -> str:
        """The prefix of all keys of a generation.

        A generation name that is not valid UTF-8 was written by another program; its bad bytes are replaced, so it
        matches no key.
        """
        return f"{self.prefix}view:{generation.encode('utf-8', 'replace').decode()}:"

    def checkpoint(self, generation: str) -> str:
        """The hash with the checkpoint of a generation and the sizes of its other keys."""
        return self.view(generation) + "checkpoint"

    def members(self, generation: str) -> str:
        """The set of all keys of a generation, as builds up to 1.2.0 wrote it; later ones use the checkpoint."""
        return self.view(generation) + "keys"

    def all_of(self, generation: str) -> str:
        """The SCAN pattern that matches all keys of a generation."""
        return "".join(f"\\{char}" if char in "{}[]*?\\" else char for char in self.view(generation)) + "*"

    def rows(self, generation: str, view: str) -> str:
        """The hash of the rows of a view."""
        return f"{self.view(generation)}rows:{view}"

    def index(self, generation: str, view: str, index: str) -> str:
        """The sorted set of row ids of an index."""
        return f"{self.view(generation)}index:{view}:{index}"

    def blob(self, sha256: str) -> str:
        """The key of one compressed text."""
        return f"{self.prefix}blob:{sha256}"
