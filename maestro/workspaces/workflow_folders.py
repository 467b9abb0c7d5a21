"""The folders of workflows' runs, `<root>/.workflows/<run>/workspace` with mode 0700: their paths, how they are made.

They are folders of runs, too, and marked so: no agent may work in one, and no agent can have its name.
"""

from __future__ import annotations

import os
from pathlib import Path

from maestro.folders import private_folder
from maestro.model.errors import Invalid, Refused
from maestro.workspaces.folders import MARK, entered, is_folder, opened

NAME = ".workflows"
TREES = "workflow-runs"
"""What the trees of their workspaces in snapshots are below."""


def workspace(folder: str) -> str:
    """The workspace in the folder of a run."""
    return f"{folder}/workspace"


def make(folder: str) -> str:
    """Make the folder of a run, where it is absent, and mark those above it; its name. Follows no link.

    Raises `Invalid` for a path that is no folder of a run, `Refused` where something else is there.
    """
    path = Path(folder)
    if path.parent.name != NAME or not path.is_absolute() or path.name in ("", ".", ".."):
        raise Invalid(f"{folder!r} is no folder of a workflow's run")
    root = str(path.parent.parent)
    try:
        if not is_folder(root):
            private_folder(Path(root), "MAESTRO_WORKSPACE_ROOT")
        with opened(root) as top, entered(top, NAME) as runs, entered(runs, path.name):
            os.close(os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=runs))
            return path.name
    except OSError as error:
        raise Refused(f"{folder!r} cannot be made: {error.strerror}", "workspace", "see what is there") from None
