"""`maestro demo`: a complete run through the ordinary commands, in a temporary namespace and temporary folders.

It shows each command as a user could type it. Its store is an embedded one of its own: nothing of the user's is
touched.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from maestro.cli import printer
from maestro.cli.options import examples
from maestro.model.errors import MaestroError

app = typer.Typer()

TYPES = ("designer", "builder", "tester")
DEFINITION = "slug: {slug}\nmode: script\nadapter: shell\ncapabilities: [{slug}]\n"


class Story:
    """The folder and environment of one demo. `run` shows a command as it could be typed, then executes it."""

    def __init__(self, place: Path) -> None:
        self.place = place
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

    def run(self, *args: str) -> str:
        """Execute a command; prints and returns its output. Raises MaestroError where it fails."""
        shown = shlex.join(args)
        printer.write(f"$ maestro {shown}\n".encode())
        printer.flush()
        self.up = True
        done = subprocess.run(
            [sys.executable, "-m", "maestro", *args], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        printer.write(done.stdout)
        printer.flush()
        if done.returncode:
            raise MaestroError(f"`maestro {shown}` ended with exit code {done.returncode}", "demo")
        return done.stdout.decode("utf-8", "replace")

    def stop(self) -> None:
        """Shut the daemon down, without output."""
        words = [sys.executable, "-m", "maestro", "shutdown", "--grace-period", "2"]
        quiet = subprocess.DEVNULL
        subprocess.run(words, env=self.env, stdin=quiet, stdout=quiet, stderr=quiet)

    def dispatch(self, *args: str) -> str:
        """Dispatch a task and return its id."""
        return self.run("task", "dispatch", *args, "--quiet").strip().splitlines()[-1]


@app.command("demo", epilog=examples("maestro demo"))
def demo() -> int:
    """A complete run on a throw-away namespace, with real processes and no API key; nothing of yours is touched."""
    place = Path(tempfile.mkdtemp(prefix="maestro-demo-"))
    story = Story(place)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a SIGTERM deletes the demo's folders too
    try:
        _prepare(place)
        _run_story(story)
    finally:
        _clean_up(story)
    story.say("That was Maestro. Next: `maestro agent assign --help` and `maestro task dispatch --help`")
    return 0


def _prepare(place: Path) -> None:
    for folder in ("home", "agents.d"):
        (place / folder).mkdir(mode=0o700)
    # Without this record the first use would prefer a safe Redis at localhost:6379.
    (place / "home" / "store.json").write_text('{"kind":"embedded","why":"maestro demo"}\n')
    for slug in TYPES:
        (place / "agents.d" / f"{slug}.yaml").write_text(DEFINITION.format(slug=slug))


def _run_story(story: Story) -> None:
    table = ("--format", "table")
    maestro = shlex.join([sys.executable, "-m", "maestro"])
    story.say("Three agents, each in a workspace of its own; their node and its store start by themselves")
    for urgency, slug in enumerate(TYPES, 1):
        workspace = str(story.place / "work" / slug)
        story.run("agent", "assign", slug, "--to-workspace", workspace, "--priority", str(urgency), *table)

    story.say(
        "Five tasks: build after design, test after build; of two more for the designer the urgent one goes first"
    )
    plan = f"sleep 1; echo 'an API on port 8080' | tee plan.md; {maestro} state set api_port 8080 --ttl 1h >/dev/null"
    design = story.dispatch(plan, "--to", "designer")
    binary = story.place / "work" / "builder" / "api.sh"
    build = story.dispatch(
        "printf 'echo pong\\n' > api.sh; echo built api.sh", "--to", "type:builder", "--depends-on", design
    )
    test = story.dispatch(f'test "$(sh {binary})" = pong; echo 1 passed', "--to", "tester", "--depends-on", build)
    story.dispatch("echo tidied up", "--to", "designer", "--priority", "5")
    story.dispatch("echo hot fix drawn", "--to", "capability:designer", "--priority", "1")

    story.say("What waits, and for what")
    story.run("queue", "status", *table)

    story.say("Real processes do the work; this waits for the last of the three that depend on each other")
    story.run("task", "wait", design, build, test, "--timeout", "120", *table)
    story.run("task", "logs", test)

    story.say("The designer left a value for all, from inside its run")
    story.run("state", "get", "api_port", "--raw")

    story.say("One more, and this time we wait for its end; the exit code would be the agent's")
    story.run("task", "dispatch", "echo released", "--to", "builder", "--sync", *table)
    story.run("task", "list", *table)

    story.say("Who did what, when and why: from the log")
    story.run("audit", f"task:{test}", *table)

    story.say("The proof: every event checked against the chain, every view folded again and compared")
    story.run("replay", "verify", *table)


def _clean_up(story: Story) -> None:
    """Stop the node and its store, and delete the demo's folders, whatever happened."""
    try:
        if story.up:
            story.say("Everything stops, and nothing stays behind")
            story.run("shutdown", "--grace-period", "2", "--format", "table")
    except (BrokenPipeError, MaestroError):  # nobody reads the output any more: clean up all the same
        story.stop()
        raise
    finally:
        shutil.rmtree(story.place, ignore_errors=True)
