"""The story of a demo: its folder, its environment, and commands that are shown as a user could type them."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
import time
from pathlib import Path

from maestro.cli import printer
from maestro.model.errors import MaestroError


class Story:
    """The folder and environment of one demo. `run` shows a command as it could be typed, then executes it.

    pace_s: how long to wait after each text that explains, so that it can be read.
    """

    def __init__(self, place: Path, pace_s: float = 0) -> None:
        self.place = place
        self.pace_s = pace_s
        self.up = False
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
        self.env = {
            **kept,
            "MAESTRO_HOME": str(place / "home"),
            "MAESTRO_WORKSPACE_ROOT": str(place / "runs"),
            "MAESTRO_AGENTS_DIR": str(place / "agents.d"),
            "MAESTRO_NAMESPACE": f"demo-{secrets.token_hex(4)}",
        }

    def say(self, line: str) -> None:
        """Print a comment that explains the next commands."""
        printer.write(f"\n# {line}\n".encode())
        printer.flush()
        time.sleep(self.pace_s)

    def run(self, *args: str, code: int = 0) -> str:
        """Execute a command; prints and returns its output. Raises MaestroError for another exit code."""
        shown = shlex.join(args)
        printer.write(f"$ maestro {shown}\n".encode())
        printer.flush()
        self.up = True
        done = subprocess.run(
            [sys.executable, "-m", "maestro", *args],
            env=self.env,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        printer.write(done.stdout)
        printer.flush()
        if done.returncode != code:
            raise MaestroError(f"`maestro {shown}` ended with exit code {done.returncode}", "demo")
        return done.stdout.decode("utf-8", "replace")

    def shell(self, line: str) -> None:
        """Show and execute a line of shell in the demo's folder."""
        printer.write(f"$ {line}\n".encode())
        printer.flush()
        done = subprocess.run(["sh", "-ec", line], cwd=self.place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        printer.write(done.stdout)
        printer.flush()

    def ask(self, *args: str) -> str:
        """The output of a command that is not shown."""
        words = [sys.executable, "-m", "maestro", *args]
        done = subprocess.run(words, env=self.env, stdin=subprocess.DEVNULL, capture_output=True)
        return done.stdout.decode("utf-8", "replace")

    def stop(self) -> None:
        """Shut the daemon down, without output."""
        words = [sys.executable, "-m", "maestro", "shutdown", "--grace-period", "2"]
        quiet = subprocess.DEVNULL
        subprocess.run(words, env=self.env, stdin=quiet, stdout=quiet, stderr=quiet)

    def dispatch(self, *args: str) -> str:
        """Dispatch a task and return its id."""
        return self.run("task", "dispatch", *args, "--quiet").strip().splitlines()[-1]
