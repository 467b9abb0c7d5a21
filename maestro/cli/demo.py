"""`maestro demo`: a complete run through the ordinary commands, in a temporary namespace and temporary folders.

It shows each command as a user could type it. Its store is an embedded one of its own: nothing of the user's is
touched.
"""

from __future__ import annotations

import importlib
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from maestro.cli import printer
from maestro.cli.demo_story import TABLE, Story
from maestro.cli.options import examples
from maestro.model.duration import duration_ms
from maestro.model.errors import Invalid, MaestroError, NotFound
from maestro.model.ids import nearest, shown

app = typer.Typer()

TOPICS = {
    "tasks": "agents, dependencies, priorities, the audit trail, the proof",
    "crash": "kill -9 in the middle of a run: nothing is lost, nothing ends twice",
    "rollback": "an agent ruins its workspace, which goes back by itself",
    "workflow": "a list at run time, resume, a loop until it is green, the trace",
    "budget": "what spends too much is ended or paused, and told of",
    "approval": "a workflow waits for a person: a yes, and a no",
}
"""Topic -> what it shows; the story is told by the module `<topic>_demo`."""
ONLY = f"there are {', '.join(list(TOPICS)[:-1])} and {list(TOPICS)[-1]}"
PACES_S = {"none": 0.0, "normal": 2.0, "slow": 5.0}
PACE_S_MAX = 60.0
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a demo as Ctrl-C does, so that its folders and processes go with it."""


def completed(incomplete: str) -> list[tuple[str, str]]:
    """Topics that begin so, with what each shows, for the completion of a shell."""
    return [(topic, shows) for topic, shows in TOPICS.items() if topic.startswith(incomplete)]


def paces(incomplete: str) -> list[tuple[str, str]]:
    """Names of paces that begin so, with their seconds."""
    return [(name, f"{seconds:g} s") for name, seconds in PACES_S.items() if name.startswith(incomplete)]


def pace_s(text: str | None) -> float:
    """Seconds of a value of --pace; without one as suits who reads. Raises Invalid."""
    if text is None:
        return PACES_S["normal" if printer.is_terminal() else "none"]
    if text in PACES_S:
        return PACES_S[text]
    found = duration_ms(text)
    if found is None or found > PACE_S_MAX * 1000:
        raise Invalid(
            f"{text!r} is no pace", "--pace", f"give seconds, {PACE_S_MAX:g} at most, or {', '.join(PACES_S)}"
        )
    return found / 1000


TopicArgument = Annotated[
    str, typer.Argument(help=f"What to show: {', '.join(TOPICS)}.", autocompletion=completed, show_default=True)
]
PaceOption = Annotated[
    str | None,
    typer.Option(
        "--pace",
        metavar="PACE",
        help="Seconds to wait after each text, or slow (5), normal (2: as on a terminal) or none (as elsewhere).",
        autocompletion=paces,
    ),
]
EPILOG = examples(
    *(f"maestro demo {topic:<10} # {shows}" for topic, shows in TOPICS.items()),
    "maestro demo crash --pace slow",
    "maestro demo --pace 0 > demo.txt",
)


@app.command("demo", epilog=EPILOG)
def demo(topic: TopicArgument = "tasks", pace: PaceOption = None) -> int:
    """A complete run on a throw-away namespace, with real processes and no API key; nothing of yours is touched.

    Each takes less than a minute. Ctrl-C ends it, and nothing stays behind then either.
    """
    if topic not in TOPICS:
        near = nearest(topic, list(TOPICS))
        raise NotFound(
            f"there is no demo {shown(topic)}", mend=f"did you mean `maestro demo {near[0]}`?" if near else ONLY
        )
    wait_s = pace_s(pace)
    for ending in ENDINGS:
        if signal.getsignal(ending) != signal.SIG_IGN:  # as `nohup` has it
            signal.signal(ending, signal.default_int_handler)
    story = Story(Path(tempfile.mkdtemp(prefix="maestro-demo-")), wait_s)
    try:
        story.prepare()
        next_one = importlib.import_module(f"maestro.cli.{topic}_demo").tell(story)
    except BaseException:
        _clean_up(story, is_early=True)
        raise
    _clean_up(story)
    story.say(f"That was Maestro. Next: {next_one}")
    if topic == "tasks":
        for name, shows in TOPICS.items():
            printer.write_line(f"maestro demo {name:<10} {shows}")
    return 0


def _clean_up(story: Story, is_early: bool = False) -> None:
    """Stop the node and its store, and delete the demo's folders, whatever happened; nothing interrupts that.

    is_early: a command may have been interrupted that was starting the daemon.
    """
    for ending in (signal.SIGINT, *ENDINGS):
        signal.signal(ending, signal.SIG_IGN)  # as the commands below inherit it
    story.pace_s = 0
    try:
        if story.up:
            story.say("Everything stops, and nothing stays behind")
            if is_early:
                story.ask("up")  # a daemon that only starts is not seen by `shutdown`; this waits for it
            story.run("shutdown", "--grace-period", "2", *TABLE)
    except (BrokenPipeError, MaestroError):  # nobody reads the output any more: clean up all the same
        story.stop()
        raise
    finally:
        shutil.rmtree(story.place, ignore_errors=True)
