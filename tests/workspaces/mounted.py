"""A script that mounts what it likes, in a mount namespace of its own that nobody else sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.store.embedded.test_server_disk_full import UNSHARE

LONGEST_S = 120
PRELUDE = """
import json, os, subprocess, sys
from pathlib import Path
place = Path(sys.argv[1])
def bind(source, target):
    subprocess.run(["mount", "--bind", source, target], check=True)
def tmpfs(target):
    subprocess.run(["mount", "-t", "tmpfs", "none", target], check=True)
def outside():
    out = place / "out"
    (out / "deep/er").mkdir(parents=True)
    (out / "deep/er/treasure").write_text("gold")
    (out / "file").write_text("silver")
    return out
def is_whole():
    out = place / "out"
    return (out / "deep/er/treasure").read_text() == "gold" and (out / "file").read_text() == "silver"
"""


def in_namespace(script: str, place: Path, longest_s: int = LONGEST_S) -> str:
    """What a script prints that was given `place` and may mount there."""
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-c", PRELUDE + script, str(place)],
        capture_output=True,
        text=True,
        timeout=longest_s,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
