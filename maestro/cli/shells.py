"""`maestro completion`: the script by which a shell completes commands, options, ids and names.

The script asks `maestro` itself what could follow, by the variable `_MAESTRO_COMPLETE`. What is offered comes from
agents too (keys and values of the state): no shell ever evaluates it, nor shows a control character of it.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import click
import typer
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)
from typer._completion_classes import completion_init

from maestro.cli import printer
from maestro.cli.escape import escaped
from maestro.cli.options import examples

app = typer.Typer()

VARIABLE = "_MAESTRO_COMPLETE"
BASH = """
%(complete_func)s() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        if [[ -n "$word" ]]; then COMPREPLY+=("$word"); fi
    done < <(env _TYPER_COMPLETE_ARGS="${COMP_LINE:0:COMP_POINT}" _MAESTRO_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=complete_bash "$1")
}

complete -o default -F %(complete_func)s %(prog_name)s
"""
ZSH = """
#compdef %(prog_name)s

%(complete_func)s() {
    local -a values shown
    local value about
    while IFS=$'\\t' read -r value about; do
        if [[ -n "$value" ]]; then
            values+=("$value")
            shown+=("$value${about:+  -- $about}")
        fi
    done < <(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" %(complete_var)s=complete_zshlines %(prog_name)s)
    if (( $#values )); then
        if [[ "$PREFIX" == --*=* ]]; then compset -P '*='; fi
        compadd -l -d shown -a values
    else
        _files
    fi
}

compdef %(complete_func)s %(prog_name)s
"""
BREAKS = " \t\n\"'@><=;|&(:"
"""Where a word ends to bash, unless its user has changed it."""
SPECIAL = frozenset(" \t\"'`$\\&|;<>(){}[]*?!#~^")
"""What bash acts on in a word that is in no quotes."""
ABOUT_CHARS_MAX = 60


class Shell(StrEnum):
    """Shells that can complete a command line of Maestro."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


class _OfLine(ShellComplete):
    """The answer to a script that passes on the line up to the cursor."""

    line = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the last one, without the program, and the last one, which may be empty."""
        self.line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")  # of typer's script
        words = split_arg_string(self.line)[1:]
        return (words[:-1], words[-1]) if words and any(_replaced(self.line, " \t\n")) else (words, "")


class ForBash(_OfLine):
    """The answer for bash: what could follow, a candidate a line, as it is to be put there."""

    name = Shell.bash.value
    source_template = BASH

    def complete(self) -> str:
        """That part of each candidate which bash puts in place of what it takes for the word, quoted as that is."""
        words, typed = self.get_completion_args()
        quote, replaced = _replaced(self.line, os.environ.get("_MAESTRO_WORDBREAKS", BREAKS))
        stays = max(0, len(typed) - replaced)
        option = typed[: typed.find("=") + 1] if typed.startswith("--") else ""
        offered = [f"{option}{item.value}"[stays:] for item in self.get_completions(words, typed)]
        return "\n".join(_quoted(value, quote) for value in offered)


class ForZsh(_OfLine):
    """The answer for zsh, which quotes what it takes: a candidate a line, and behind a tab what it is."""

    name = "zshlines"
    source_template = ZSH

    def format_completion(self, item: CompletionItem) -> str:
        """The line of a candidate."""
        about = " ".join((item.help or "").split())[:ABOUT_CHARS_MAX]
        return f"{escaped(str(item.value))}\t{escaped(about)}"


class ForEarlierZsh(ForZsh):
    """The answer for a script of typer's, which evaluates it: names of files only."""

    name = Shell.zsh.value

    def complete(self) -> str:
        """What it evaluates."""
        return "_files"


def prepare() -> None:
    """Let click answer the scripts."""
    completion_init()
    add_completion_class(ForBash, Shell.bash.value)
    add_completion_class(ForZsh)
    add_completion_class(ForEarlierZsh)


def _replaced(line: str, breaks: str) -> tuple[str, int]:
    """What bash replaces by what is chosen: the quote that it is in, "" for none, and how many characters it says."""
    quote, count, is_escaped = "", 0, False
    for char in line:
        if is_escaped:
            count, is_escaped = count + 1, False
        elif char == "\\" and quote != "'":
            is_escaped = True
        elif char == quote:
            quote = ""
        elif quote:
            count += 1
        elif char in "\"'":
            quote, count = char, 0
        else:
            count = 0 if char in breaks else count + 1
    return quote, count


def _quoted(value: str, quote: str) -> str:
    """A value as it can stand behind an open quote, or in none."""
    if quote == "'":
        return value.replace("'", "'\\''")
    special = frozenset('"$`\\') if quote else SPECIAL
    return "".join(f"\\{char}" if char in special else char for char in value)


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
    kind = ForZsh if shell is Shell.zsh else get_completion_class(shell.value)
    assert kind is not None
    script = kind(click.Command("maestro"), {}, "maestro", VARIABLE).source()
    printer.write(f"{script.strip()}\n".encode())
    return 0
