"""`maestro completion`: the script by which a shell completes commands, options, ids and names.

The script asks `maestro` itself what could follow, by the variable `_MAESTRO_COMPLETE`. Both sides are typer's.
To bash a word ends at each colon too: its script passes the whole line on, and takes what is behind the last colon.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import click
import typer
from click.shell_completion import add_completion_class, get_completion_class, split_arg_string
from typer._completion_classes import BashComplete, completion_init

from maestro.cli import printer
from maestro.cli.options import examples

app = typer.Typer()

VARIABLE = "_MAESTRO_COMPLETE"
BASH = """
%(complete_func)s() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=( $( env _TYPER_COMPLETE_ARGS="$line" %(autocomplete_var)s=complete_bash "$1" ) )
    local word="${line##* }"
    if [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        local head="${word%%"${word##*:}"}"
        COMPREPLY=( "${COMPREPLY[@]#"$head"}" )
    fi
}

complete -o default -F %(complete_func)s %(prog_name)s
"""


class Shell(StrEnum):
    """Shells that can complete a command line of Maestro."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


class WholeLine(BashComplete):
    """The answer for bash: what could follow the line up to the cursor."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the last one, and the last one, which may be empty."""
        line = os.environ.get("_TYPER_COMPLETE_ARGS")
        if line is None:  # a script that typer has installed
            return super().get_completion_args()
        words = split_arg_string(line)[1:]
        return (words, "") if not words or line[-1:].isspace() else (words[:-1], words[-1])


def prepare() -> None:
    """Let click answer the scripts."""
    completion_init()
    add_completion_class(WholeLine, Shell.bash.value)


@app.command(
    "completion",
    epilog=examples(
        'eval "$(maestro completion bash)"        # a line of ~/.bashrc',
        'eval "$(maestro completion zsh)"         # a line of ~/.zshrc, behind the one with compinit',
        "maestro completion fish | source         # a line of ~/.config/fish/config.fish",
    ),
)
def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> int:
    """Print the script that completes `maestro` in a shell: evaluate it where the shell begins, as below.

    Ids of agents, tasks, snapshots and keys are asked of the daemon where it runs; nothing is started for it.
    """
    prepare()
    kind = get_completion_class(shell.value)
    assert kind is not None
    script = kind(click.Command("maestro"), {}, "maestro", VARIABLE).source()
    printer.write(f"{script.strip()}\n".encode())
    return 0
