"""`maestro demo`: a complete run through the ordinary commands, in a temporary namespace and temporary folders.

It shows each command as a user could type it. Its store is an embedded one of its own: nothing of the user's is
touched.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from maestro.cli.demo_story import Story
from maestro.cli.options import examples
from maestro.model.errors import MaestroError, NotFound
from maestro.model.ids import nearest, shown

app = typer.Typer()

TOPICS = {
    "tasks": "agents, tasks with dependencies and priorities, the audit trail, the proof",
    "workflow": "a list at run time, a failing item, resume, a loop until it is green, an approval, the trace",
    "budget": "an agent that spends too much is ended, a workflow that does is paused, told of, and goes on with more",
    "rollback": "failsafe mode: an agent ruins its workspace and it goes back, but never over the work of a person",
}
ONLY = f"there are {', '.join(list(TOPICS)[:-1])} and {list(TOPICS)[-1]}"
PACE_S_MAX = 60.0
TYPES = ("designer", "builder", "tester")
DEFINITION = "slug: {slug}\nmode: script\nadapter: shell\ncapabilities: [{slug}]\n"


def completed(incomplete: str) -> list[tuple[str, str]]:
    """Topics that begin so, with what each shows, for the completion of a shell."""
    return [(topic, shows) for topic, shows in TOPICS.items() if topic.startswith(incomplete)]


TopicArgument = Annotated[
    str, typer.Argument(help=f"What to show: {', '.join(TOPICS)}.", autocompletion=completed, show_default=True)
]
PaceOption = Annotated[
    float, typer.Option("--pace", min=0, max=PACE_S_MAX, help="Seconds to wait after each text, to read along.")
]


@app.command("demo", epilog=examples("maestro demo", "maestro demo workflow", "maestro demo budget --pace 2"))
def demo(topic: TopicArgument = "tasks", pace: PaceOption = 0) -> int:
    """A complete run on a throw-away namespace, with real processes and no API key; nothing of yours is touched."""
    if topic not in TOPICS:
        near = nearest(topic, list(TOPICS))
        raise NotFound(
            f"there is no demo {shown(topic)}", mend=f"did you mean `maestro demo {near[0]}`?" if near else ONLY
        )
    place = Path(tempfile.mkdtemp(prefix="maestro-demo-"))
    story = Story(place, pace)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a SIGTERM deletes the demo's folders too
    try:
        _prepare(place)
        next_one = _STORIES[topic](story)
    finally:
        _clean_up(story)
    story.say(f"That was Maestro. Next: {next_one}")
    return 0


def _prepare(place: Path) -> None:
    for folder in ("home", "agents.d"):
        (place / folder).mkdir(mode=0o700)
    # Without this record the first use would prefer a safe Redis at localhost:6379.
    (place / "home" / "store.json").write_text('{"kind":"embedded","why":"maestro demo"}\n')
    for slug in TYPES:
        (place / "agents.d" / f"{slug}.yaml").write_text(DEFINITION.format(slug=slug))


def _tell_workflow(story: Story) -> str:
    from maestro.cli import workflow_demo

    return workflow_demo.tell(story)


def _tell_budget(story: Story) -> str:
    from maestro.cli import budget_demo

    return budget_demo.tell(story)


def _run_story(story: Story) -> str:
    """Agents and tasks; returns what to read next."""
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
    return "`maestro demo workflow`, `maestro agent assign --help` and `maestro task dispatch --help`"


def _tell_rollback(story: Story) -> str:
    from maestro.cli import rollback_demo

    return rollback_demo.tell(story)


_STORIES: dict[str, Callable[[Story], str]] = {
    "tasks": _run_story,
    "workflow": _tell_workflow,
    "budget": _tell_budget,
    "rollback": _tell_rollback,
}


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
