"""Programs that stand in for agents: real scripts that answer what the test gives them."""

from __future__ import annotations

import os
from pathlib import Path

from maestro.agents.registration import Site


def program(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def site(folder: Path, **env: str) -> Site:
    """The environment of a caller who has set these variables."""
    return Site({"PATH": os.environ["PATH"], "HOME": str(folder), **env}, str(folder), str(folder / "root"))


TODAY = """
case "$1" in
  --version) echo "kilo 7.7.7 (linux)" ;;
  agent) printf 'code (primary)\\n  {}\\nplan (primary)\\nhelper (subagent)\\nsummary (primary)\\n' ;;
  *) exit 9 ;;
esac
"""
HISTORICAL = 'if [ "$1" = --version ]; then echo 0.26.1; else exit 9; fi\n'
MUTE = "cat\nexit 3\n"
