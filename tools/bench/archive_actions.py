"""Runs one action of Maestro's archive as a process: `python -m tools.bench.archive_actions REPOSITORY ACTION …`."""

from __future__ import annotations

import sys
from pathlib import Path

from maestro.workspaces.archive.library import Archive
from maestro.workspaces.exchanges.exchange import Exchange


def main() -> None:
    """Run the action that the command line names."""
    repository, act, *argv = sys.argv[1:]
    archive = Archive(repository)
    if act == "wake":
        archive.snapshots()
    elif act == "save":
        archive.save([("tree", argv[0])], argv[1], {})
    elif act == "restore":
        archive.restore(argv[0], "tree", argv[1])
    elif act == "verify":
        for one in archive.snapshots():
            archive.verify(one.snapshot)
    elif act == "roll-back":
        roll_back(archive, Path(repository).with_name("journal"), argv[0], argv[1])
    else:
        archive.export(argv[0], argv[1])


def roll_back(archive: Archive, journal: Path, tree: str, name: str) -> None:
    """Roll a tree back as a restore does: snapshot what is there, stage the wanted snapshot, exchange them."""
    archive.save([("tree", tree)], f"before-{len(archive.snapshots())}", {})
    with Exchange(journal) as one:
        archive.restore(name, "tree", one.stage(tree), reuse=tree)
        one.commit()
    archive.remember(name, "tree", tree)


if __name__ == "__main__":
    main()
