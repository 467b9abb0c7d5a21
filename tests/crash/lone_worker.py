"""A worker process of its own for crash tests: launches the runs of a file, tells what it hears, waits for its death.

`python -m tests.crash.lone_worker HOME SPECS`: SPECS holds one encoded spec a line. Prints a JSON line for each
message, `[run, kind, fields]`, and first `["", "launcher", {"pid": …}]`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio

from maestro.runtime.supervision.spec import Spec
from maestro.runtime.worker.launcher_client import LauncherClient


def tell(run: str, kind: str, fields: dict[str, Any]) -> None:
    print(json.dumps([run, kind, fields]), flush=True)


async def follow(launcher: LauncherClient, spec: Spec) -> None:
    process = await launcher.launch(spec)
    async for message in process.events:
        tell(spec.run, type(message).__name__, message._asdict())
    process.close()


async def main(home: Path, specs: list[Spec]) -> None:
    launcher = LauncherClient(home)
    await launcher.start()
    tell("", "launcher", {"pid": launcher.pid})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(launcher.watch)
        for spec in specs:
            nursery.start_soon(follow, launcher, spec)
        await trio.sleep_forever()


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_bytes().splitlines()
    trio.run(main, Path(sys.argv[1]), [Spec.decode(line) for line in lines])
