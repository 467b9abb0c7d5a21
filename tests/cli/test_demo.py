"""The demo runs whole, and nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.installation import left_behind


def test_the_demo_tells_its_story_and_leaves_nothing(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
    done = subprocess.run(
        [sys.executable, "-m", "maestro", "demo"],
        env={**env, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout and "8080" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_has_seen_enough_leaves_no_store_behind(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
    words = [sys.executable, "-m", "maestro", "demo"]
    with subprocess.Popen(
        words, env={**env, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}, stdout=subprocess.PIPE
    ) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith(b"id "):  # the store runs by now
            pass
        (place,) = tmp_path.iterdir()
        demo.stdout.close()
        assert demo.wait(60) == 141
    assert list(tmp_path.iterdir()) == []
    assert left_behind(place / "home") == []
