"""The own places of a fork: what says that an installation is one, and that it keeps nothing where its source does.

Every command asks it before it opens the store: it imports no more than that takes.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from maestro.config import Settings
from maestro.model.errors import Refused
from maestro.model.forks.fork import Branch

ENV = "env"
"""The file in the folder of a fork that a shell reads."""
BRANCH = "branch.json"
"""The file in the MAESTRO_HOME of a fork that says where it left which history."""
PLACES = ("archive_url", "segments_dir")
"""Settings of where a namespace keeps what it collects by itself."""


def branch_of(home: Path) -> Branch | None:
    """Where the installation in this home was forked from, None where it is no fork. Blocks."""
    try:
        return msgspec.json.decode((home / BRANCH).read_bytes(), type=Branch)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"cannot be read: {error}", str(home / BRANCH), "put it back as it was") from None


def check_own_places(settings: Settings) -> None:
    """Check that a fork keeps nothing where `config.toml` says: that is where the namespace that it comes from does.

    One of the two would take what the other has sealed or archived for its own, and remove it. Raises Refused. Blocks.
    """
    shared = [key for key in PLACES if settings.sources.get(key) == str(settings.config_file)]
    branch = branch_of(settings.home) if shared else None
    if branch is not None:
        what = f"{' and '.join(shared)} would be those of the namespace {branch.source}, from which this fork comes"
        own = " and ".join(f"MAESTRO_{key.upper()}" for key in shared)
        env = shlex.quote(f"{branch.root}/{ENV}")
        raise Refused(what, str(settings.config_file), f"`. {env}` sets its own; or set {own} to places of its own")
