"""A process that is killed while it works on an archive: `python -m tests.workspaces.archive.dying ACT FOLDER AT`.

It kills itself just before the AT-th thing that it asks of the system (as the interpreter's audit events count them);
with AT = 0 it goes on to its end and prints how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path

from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.exchanges.exchange import Exchange

ASKS = {"open", "fcntl.flock", "fcntl.ioctl"}


def save(place: Path) -> None:
    Archive(place / "store").save([("ws", str(place / "ws"))], "new", {})


def collect(place: Path) -> None:
    Archive(place / "store").collect(["kept"])


def export(place: Path) -> None:
    Archive(place / "store").export("kept", place / "out.tar.gz")


def restore(place: Path) -> None:
    with Exchange(place / "journal") as one:
        Archive(place / "store").restore("kept", "ws", one.stage(place / "ws"), reuse=str(place / "ws"))
        one.commit()


def main() -> None:
    act, place, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    numbers = count(1)
    seen = [0]
    child_process.FROM_FILES = 2
    child_process.cores = lambda: 2

    def hook(event: str, _: object) -> None:
        if event in ASKS or event.startswith("os."):
            seen[0] = next(numbers)
            if seen[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    {"save": save, "collect": collect, "export": export, "restore": restore}[act](place)
    print(seen[0])


if __name__ == "__main__":
    main()
