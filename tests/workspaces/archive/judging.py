"""Tries to restore each archive of a folder, in a process of its own so that its memory can be seen.

`python -m tests.workspaces.archive.judging FOLDER STAGE`: a line of JSON for each, and one for the memory, in MB.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from maestro.model.errors import MaestroError
from maestro.workspaces.archive.export.export_reader import open_export


def judge(path: Path, stage: Path) -> dict[str, object]:
    """What came of one archive."""
    began = time.monotonic()
    error = where = what = ""
    try:
        with open_export(path) as export:
            export.restore({tree.name: stage for tree in export.head.trees})
    except MaestroError as refusal:
        error, where, what = type(refusal).__name__, refusal.where, refusal.line()
    took = time.monotonic() - began
    left = stage.exists()
    if left:
        shutil.rmtree(stage)
    return {"name": path.name, "error": error, "where": where, "what": what, "took": took, "left": left}


def main() -> None:
    folder, stage = Path(sys.argv[1]), Path(sys.argv[2])
    for path in sorted(folder.iterdir()):
        print(json.dumps(judge(path, stage)))
    # Not ru_maxrss: that one has the size of the parent at the fork in it.
    [peak] = [
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    print(json.dumps({"peak_mb": int(peak) / 1024}))


if __name__ == "__main__":
    main()
