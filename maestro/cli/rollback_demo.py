"""`maestro demo rollback`: failsafe mode has workspaces go back after bad runs, and never over the work of a person."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from maestro.cli.demo_story import Story
from maestro.model.errors import MaestroError

PATIENCE_S = 60.0
TYPE = """\
slug: editor
mode: script
adapter: shell
failsafe: true        # or MAESTRO_FAILSAFE_MODE=true, for all types that say nothing
"""


def tell(story: Story) -> str:
    """The story; returns what to read next."""
    table = ("--format", "table")
    here = story.place / "work"
    (story.place / "agents.d" / "editor.yaml").write_text(TYPE)
    story.say("An agent whose type is in failsafe mode, and its workspace; a shell stands in for an AI")
    story.shell("cat agents.d/editor.yaml")
    story.run("agent", "assign", "editor", "--to-workspace", str(here), *table)
    _until("the workspace is not made", here.is_dir)
    story.shell("cd work; mkdir book; echo 'Chapter one' > book/one.md; chmod 640 book/one.md; ls -lR")

    story.say("It deletes everything, writes something else, and fails")
    ruin = "rm -rf *; echo oops > notes; exit 3"
    story.run("task", "dispatch", ruin, "--to", "editor", "--sync", "--quiet", code=3)
    story.say("The workspace is exactly what it was: contents, modes, times. The task ended only after that")
    story.shell("cd work; ls -lR")

    story.say("What the run left was archived first, and the event names the archive: nothing is lost")
    story.run("audit", "agent:editor", *table)
    failed = _events(story, "failsafe.returned")[-1]["failed"]
    story.run("state", "restore", failed, "--workspace", str(here), "--dry-run", *table)

    story.say("Each attempt goes back before the next: this one fails once, half done, and the second starts afresh")
    flag = story.place / "tried"
    half = (
        f"ls; echo half > book/two.md; test -e {flag} || {{ touch {flag}; exit 1; }}; echo 'Chapter two' > book/two.md"
    )
    story.run("task", "dispatch", half, "--to", "editor", "--sync", "--retries", "1", *table)
    story.shell("cat work/book/*.md")

    story.say("Now the daemon is killed in the middle of a run (kill -9), and a person writes into the workspace")
    task = story.dispatch("echo half > half.md; touch on; sleep 60", "--to", "editor", "--async")
    _until("the run does not start", (here / "on").exists)
    _kill_daemon(story)
    record = story.place / "runs" / "editor" / task / "attempts" / "1" / "exit.json"
    _until("the run does not end with its daemon", record.exists)
    story.shell("echo 'mine' > work/of-a-person.md")
    story.say("The next daemon sees that: it puts nothing back over a person's work, and holds the agent")
    story.run("up", *table)
    _until("nothing is told of it", lambda: _events(story, "failsafe.kept"))
    _until("the agent is not held", lambda: "failsafe: " in story.ask("agent", "list"))
    story.run("agent", "health", "editor", "--log-lines", "0", code=1)
    story.shell("ls work")

    story.say("Whoever has looked at it says how it goes on: here with what is there")
    story.run("task", "cancel", task, *table)
    story.run("agent", "restart", "editor", *table)
    story.run("task", "dispatch", "rm half.md on; ls", "--to", "editor", "--sync", "--quiet")
    story.shell("ls work")
    return "`maestro help monitoring`, its section on failsafe mode"


def _events(story: Story, kind: str) -> list[dict[str, Any]]:
    lines = story.ask("events", "export").splitlines()
    return [event["data"] for event in map(json.loads, lines) if event.get("type") == kind]


def _kill_daemon(story: Story) -> None:
    pid = int(json.loads(story.ask("up"))["pid"])
    os.kill(pid, signal.SIGKILL)


def _until(what: str, true: Callable[[], object]) -> None:
    """Wait for it. Raises MaestroError where it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise MaestroError(what, "demo")
        time.sleep(0.1)
