"""`maestro queue`: the tasks that wait (and for what), run, or have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import AgentFilter, CountedOption, FormatOption, examples
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="queue", help="The queue of tasks.")

QUEUE = (
    Column("task", "TASK"),
    Column("status", "STATUS"),
    Column("target", "TO", leaves=3),
    Column("agent", "AGENT", leaves=4),
    Column("priority", "PRIORITY", leaves=2),
    Column("waiting_for", "WAITS FOR", cuts="end"),
    Column("dispatched_at", "DISPATCHED", printer.moment, leaves=1),
    Column("title", "PROMPT", cuts="end", leaves=5),
)


@app.command("status", epilog=examples("maestro queue status", "maestro queue status --waiting --agent tester"))
def status(
    agent: AgentFilter = None,
    task: Annotated[str | None, typer.Option("--task", help="One task.", autocompletion=completion.tasks)] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="What waits, and for what.")] = False,
    processing: Annotated[bool, typer.Option("--processing", help="What runs.")] = False,
    completed: Annotated[bool, typer.Option("--completed", help="What ended.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many tasks.")] = 100,
    counted: CountedOption = False,
    format: FormatOption = None,
) -> int:
    """What waits (for a dependency, its agent, a slot, a retry time), what runs, what ended."""
    chosen = {"waiting": waiting, "processing": processing, "completed": completed}
    which = [name for name, wanted in chosen.items() if wanted]
    if len(which) > 1:
        raise Invalid(f"both --{which[0]} and --{which[1]}", "queue status", "give one of them")
    command = p.QueueStatus(agent, task, which[0] if which else "open", limit)
    return answer.rows(command, QUEUE, format, "the queue is empty", counted)
