"""The remains of restores and deletions on this node: folders that could not be removed, or not be put back yet."""

from __future__ import annotations

import os
from pathlib import Path

from maestro.model.errors import MaestroError
from maestro.runtime.restores.journal import left_of
from maestro.workspaces import deletion
from maestro.workspaces.exchanges import leftovers
from maestro.workspaces.exchanges.leftovers import Leftover

ASIDE = "what was in the workspace lies in it, and is put back as soon as nothing lies in its place"
REMEDY = "see why (another owner, `lsattr`, a mount), or remove it yourself; it is tried again once a day"
KEPT = "look at what is in it, then move it to where it belongs, or remove it"


def remains(home: Path) -> list[Leftover]:
    """The folders that restores and deletions have left behind. Blocks.

    A record of them that cannot be read is one of them, too.
    """
    try:
        begun = [doomed for doomed in deletion.begun(home) if os.path.lexists(doomed.aside)]
    except MaestroError as error:
        return [Leftover(error.where, "", error.what, keeps=True), *leftovers.listed(left_of(home))]
    return [*(Leftover(each.aside, each.place, ASIDE, keeps=True) for each in begun), *leftovers.listed(left_of(home))]


def remedy(leftover: Leftover) -> str:
    """What a person can do about a folder that was left behind."""
    return KEPT if leftover.keeps else REMEDY
