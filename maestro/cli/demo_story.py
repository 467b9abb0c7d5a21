"""The story of a demo: its folder, its environment, and commands that are shown as a user could type them."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from maestro.cli import printer
from maestro.cli.app import EXIT_INTERRUPTED, EXIT_PIPE
from maestro.model.errors import MaestroError

MAESTRO = (sys.executable, "-m", "maestro")
TABLE = ("--format", "table")
"""What commands are shown with: without it those of a pipe would print JSON."""
TYPES = ("designer", "builder", "tester")
DEFINITION = "slug: {slug}\nmode: script\nadapter: shell\ncapabilities: [{slug}]\n"
PATIENCE_S = 60.0
SHOWN = 1
"""Where commands say what was refused: in place, also in a file that a demo is written to."""


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

    def prepare(self) -> None:
        """Make the folders, and types of agents whose prompts run as scripts; the store is one of the demo's own."""
        for folder in ("home", "agents.d"):
            (self.place / folder).mkdir(mode=0o700)
        # Without this record the first use would prefer a safe Redis at localhost:6379.
        (self.place / "home" / "store.json").write_text('{"kind":"embedded","why":"maestro demo"}\n')
        for slug in TYPES:
            (self.place / "agents.d" / f"{slug}.yaml").write_text(DEFINITION.format(slug=slug))

    def say(self, text: str) -> None:
        """Print a comment that explains the next commands: folded to the terminal, and bold where that is wanted."""
        width = max(shutil.get_terminal_size().columns - 1, 20) if printer.is_terminal() else sys.maxsize
        lines = textwrap.wrap(
            text, width, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False, break_long_words=False
        )
        bold = ("\x1b[1m", "\x1b[0m") if printer.is_terminal() and printer.is_styled() else ("", "")
        self._show("\n" + "\n".join(line.join(bold) for line in lines))
        time.sleep(self.pace_s)

    def run(self, *args: str, code: int = 0) -> None:
        """Show a command and execute it. Raises MaestroError for another exit code, and what ended the command."""
        self._show(f"$ maestro {shlex.join(args)}")
        self._execute(args, code, None)

    def answer(self, *args: str, code: int = 0) -> str:
        """As `run`; returns what was printed."""
        self._show(f"$ maestro {shlex.join(args)}")
        told = self._execute(args, code, subprocess.PIPE)
        self._show(told.rstrip("\n"))
        return told

    def dispatch(self, *args: str) -> str:
        """Dispatch a task and return its id."""
        return self.answer("task", "dispatch", *args, "--quiet").split()[-1]

    def shell(self, line: str) -> None:
        """Show and execute a line of shell in the demo's folder."""
        self._show(f"$ {line}")
        subprocess.run(["sh", "-ec", line], cwd=self.place, stdin=subprocess.DEVNULL)

    def write(self, name: str, text: str) -> None:
        """Write a file of the demo's folder, and show it."""
        (self.place / name).write_text(text)
        self.shell(f"cat {name}")

    def ask(self, *args: str) -> Any:
        """What a command that is not shown answers as JSON; None where it fails."""
        done = subprocess.run(
            [*MAESTRO, *args, "--format", "json"], env=self.env, stdin=subprocess.DEVNULL, capture_output=True
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    def events(self, kind: str) -> list[Mapping[str, Any]]:
        """The data of all events of one kind, as the log has them."""
        words = [*MAESTRO, "events", "export"]
        done = subprocess.run(words, env=self.env, stdin=subprocess.DEVNULL, capture_output=True)
        return [event["data"] for event in map(json.loads, done.stdout.splitlines()) if event.get("type") == kind]

    def until(self, failed: str, true: Callable[[], object]) -> None:
        """Wait until it is so. Raises MaestroError with `failed` where it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > deadline:
                raise MaestroError(failed, "demo")
            time.sleep(0.1)

    def until_it_asks(self, run: str) -> None:
        """Wait until a run of a workflow waits for an approval. Raises MaestroError where it does not."""
        waiting = ("workflow", "runs", "--waiting")
        self.until(f"run {run} does not ask", lambda: any(row["id"] == run for row in self.ask(*waiting) or ()))

    def kill_daemon(self) -> None:
        """Show and carry out a `kill -9` of this demo's own daemon."""
        self.shell(f"kill -9 {int(self.ask('up')['pid'])}   # the daemon")

    def stop(self) -> None:
        """Shut the daemon down, without output: also one that only starts, for which `up` waits."""
        quiet = subprocess.DEVNULL
        for words in (("up",), ("shutdown", "--grace-period", "2")):
            subprocess.run([*MAESTRO, *words], env=self.env, stdin=quiet, stdout=quiet, stderr=quiet)

    def _show(self, text: str) -> None:
        printer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
        printer.flush()

    def _execute(self, args: tuple[str, ...], code: int, output: int | None) -> str:
        self.up = True
        done = subprocess.run(
            [*MAESTRO, *args],
            env=self.env,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=SHOWN,
        )
        if done.returncode == EXIT_PIPE:
            raise BrokenPipeError
        if done.returncode == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        if done.returncode != code:
            raise MaestroError(f"`maestro {shlex.join(args)}` ended with exit code {done.returncode}", "demo")
        return (done.stdout or b"").decode("utf-8", "replace")
