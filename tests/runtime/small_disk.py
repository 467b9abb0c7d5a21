"""A script in a process of its own that has a small disk to fill, mounted where nobody else sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.store.embedded.test_server_disk_full import UNSHARE

LONGEST_S = 180


def on_small_disk(script: str, mib: int, temp_too: bool = False) -> dict[str, object]:
    """What a script tells that has a disk of that size, and another folder. temp_too: temporary files go there too."""
    with tempfile.TemporaryDirectory(prefix="md") as folder, tempfile.TemporaryDirectory() as elsewhere:
        env = 'env TMPDIR="$1" ' if temp_too else ""
        mount = f'mount -t tmpfs -o size={mib}m none "$1" && exec {env}"$2" -c "$3" "$1" "$4"'
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", mount, "sh", folder, sys.executable, script, elsewhere],
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": "."},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, object] = json.loads(done.stdout)
    return told
