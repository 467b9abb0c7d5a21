"""A Maestro of its own for a test: home, workspace root, agents.d and a fake kilo, driven by the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import forked_commands

KILO = """#!/bin/sh
# The historical form: kilo <mode> "<prompt>" <workspace-dir>. Runs what stands behind "run:" in the prompt.
if [ "$1" = "--version" ]; then echo "0.9.0"; exit 0; fi
cd "$3" || exit 90
echo "mode $1"
case "$2" in
  *run:*) exec sh -c "${2#*run:}" ;;
  *) printf 'did: %s\\n' "$2" ;;
esac
"""


class Installation:
    """One MAESTRO_HOME with everything around it. Use as a context manager: it shuts down at the end."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.home = Path(tempfile.mkdtemp(prefix="mh"))
        self.root = folder / "root"
        self.agents = folder / "agents.d"
        self.agents.mkdir(parents=True)
        self.kilo = folder / "bin" / "kilo"
        self.kilo.parent.mkdir()
        self.kilo.write_text(KILO)
        self.kilo.chmod(0o755)
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "MAESTRO_HOME": str(self.home),
            "MAESTRO_WORKSPACE_ROOT": str(self.root),
            "MAESTRO_AGENTS_DIR": str(self.agents),
            "MAESTRO_KILOCODE_BIN": str(self.kilo),
            "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}",
            **env,
        }
        self.apart = forked_commands.APART

    def agent_type(self, slug: str, **keys: Any) -> None:
        """Write a definition; JSON is YAML."""
        (self.agents / f"{slug}.yaml").write_text(json.dumps({"slug": slug, "mode": "code", **keys}))

    def run(self, *words: str, stdin: str = "", timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `maestro <words>`, output not a terminal."""
        return forked_commands.run(words, {**self.env, **env}, stdin, timeout, self.apart)

    def json(self, *words: str, **named: Any) -> Any:
        """Run, insist on success, and return what it printed as JSON."""
        done = self.run(*words, **named)
        assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def __enter__(self) -> Installation:
        return self

    def __exit__(self, *_: object) -> None:
        done = self.run("shutdown", "--grace-period", "1", "--keep")
        assert done.returncode == 0, done.stderr
        assert not left_behind(self.home), left_behind(self.home)
        shutil.rmtree(self.home, ignore_errors=True)  # with the ballast of its store, 64 MiB


def left_behind(home: Path) -> list[str]:
    """Processes whose environment names this home, but for zombies."""
    needle = f"MAESTRO_HOME={home}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if needle in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue
    return found
