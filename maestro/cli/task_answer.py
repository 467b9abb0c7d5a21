"""`maestro task answer`: an agent asks whether it may do something, and waits for what a person says."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, task_forms
from maestro.cli.options import FormatOption, examples
from maestro.runtime.protocol import messages as p

EXAMPLES = examples(
    "maestro task answer 01J9… allow",
    'maestro task answer 01J9… reject --reason "not on this branch"',
    "maestro task answer 01J9… allow-always --number 3   # where it asks for several at once",
    "maestro task status 01J9… --format json | jq '.runs[].permissions'",
)


def answer_(
    id: Annotated[str, typer.Argument(help="Id of a task.", autocompletion=completion.tasks)],
    given: Annotated[
        str,
        typer.Argument(
            metavar="ANSWER", help="allow, allow-always, reject, reject-always, or the id of one of its options."
        ),
    ],
    number: Annotated[int | None, typer.Option("--number", min=1, help="Which request, where several wait.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit trail.")] = "",
    format: FormatOption = None,
) -> int:
    """Answer an agent that asks for permission (types with `transport: acp`), so that its run goes on.

    What it asks for is in `maestro task explain` and `maestro task status`. The same answer again changes nothing;
    another one is refused, as the agent has gone on by the first.
    """
    return answer.one(p.TaskAnswer(id, given, number, reason), format, task_forms.show_task)
