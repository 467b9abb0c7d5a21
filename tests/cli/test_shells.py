"""Completion: the script that a shell evaluates, and what it offers then; short names of commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine, Env
from tests.cli.scripted import Scripted

BASH = """
eval "$(maestro completion bash)"
offer() {
    COMP_LINE=$1 COMP_POINT=${#1}
    _maestro_completion maestro
    printf '%s\\n' "${COMPREPLY[@]}" | paste -sd ' '
}
complete -p maestro
offer 'maestro compl'
offer 'maestro agent health te'
offer 'maestro state get task:1'
offer 'maestro task dispatch x --dep'
offer 'maestro help term'
"""


@pytest.fixture
def path(env: Env, tmp_path: Path) -> Env:
    """An environment whose PATH has the command `maestro`."""
    program = tmp_path / "maestro"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m maestro "$@"\n')
    program.chmod(0o755)
    return {**env, "PATH": f"{tmp_path}:{env['PATH']}"}


def test_bash_completes_what_the_script_offers(path: Env, daemon: Scripted) -> None:
    daemon.script = lambda command: (
        p.Item({"id": "tester"} if isinstance(command, p.AgentList) else {"key": "task:1:result", "value": "5"}),
        p.Done(),
    )
    done = subprocess.run(["bash", "--norc", "-c", BASH], env=path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "complete -o default -F _maestro_completion maestro", "completion", "tester", "1:result", "--depends-on",
        "terminal",
    ]  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_can_read(path: Env, maestro: CommandLine, shell: str) -> None:
    code, script, err = maestro.here("completion", shell)
    assert (code, err) == (0, "") and "_MAESTRO_COMPLETE=complete_" + shell in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script.encode(), env=path, capture_output=True).stderr == b""


HOSTILE = ["$(touch pwned)", "*", "my key", "a;touch pwned", "build:one", "it's", 'q"`x`']
"""Keys that an agent may have set, and a shell would act on."""
AGENTS = ({"id": "web", "type": "t", "state": "idle"}, {"id": "web-2", "type": "t", "state": "idle"})
ZSH = r"""
compdef() { }
_files() { print FILES }
compset() { print -r -- "compset $*" }
compadd() { print -rl -- $values; print -rl -- $shown }
eval "$(maestro completion zsh)"
words=(maestro state get '') CURRENT=4 PREFIX=
_maestro_completion
"""


@pytest.fixture
def hostile(daemon: Scripted) -> None:
    """A daemon whose keys and values a shell would act on."""
    rows = [{"key": key, "value": "\\$(touch pwned)\x1b[2J"} for key in HOSTILE]
    daemon.script = lambda command: (
        *map(p.Item, AGENTS if isinstance(command, p.AgentList) else rows), p.Done()
    )  # fmt: skip


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("maestro state get ", [r"\$\(touch\ pwned\)", r"\*", r"my\ key", r"a\;touch\ pwned", "build:one", r"it\'s"]),
        ('maestro state get "', [r"\$(touch pwned)", "*", "my key", "a;touch pwned", "build:one", "it's"]),
        ("maestro state get '", ["$(touch pwned)", "*", "my key", "a;touch pwned", "build:one", r"it'\''s"]),
        (r"maestro state get my\ k", [r"my\ key"]),
        ("maestro state get build:o", ["one"]),
        ('maestro state get "build:o', ["build:one"]),
        ("maestro task dispatch x --to=we", ["web", "web-2"]),
        ("maestro task dispatch x --to web,we", ["web,web-2"]),
        ("maestro nosuch sta", ["state"]),
    ],
)
def test_bash_is_given_what_it_can_put_there_and_never_evaluates_it(path: Env, line: str, offered: list[str]) -> None:
    script = 'set -eu; eval "$(maestro completion bash)"; touch file; COMP_LINE=$1 COMP_POINT=${#1}; '
    script += "_maestro_completion maestro; printf '%s\\n' \"${COMPREPLY[@]}\""
    argv = ["bash", "--norc", "-c", script, "-", line]
    home = Path(path["MAESTRO_HOME"])
    done = subprocess.run(argv, env=path, cwd=home, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:6] == offered
    assert not (home / "pwned").exists()


@pytest.mark.usefixtures("hostile")
def test_zsh_evaluates_nothing_that_an_agent_has_said(path: Env, maestro: CommandLine) -> None:
    home = Path(path["MAESTRO_HOME"])
    for line in ("maestro state get ", "maestro nosuch "):
        environ = {**path, "_TYPER_COMPLETE_ARGS": line, "_MAESTRO_COMPLETE": "complete_zsh"}
        argv = [sys.executable, "-m", "maestro"]
        assert subprocess.run(argv, env=environ, capture_output=True, text=True).stdout == "_files\n"
    if shutil.which("zsh"):
        done = subprocess.run(["zsh", "-f", "-c", ZSH], env=path, cwd=home, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        about = r"\$(touch pwned)\x1b[2J"
        assert done.stdout.splitlines() == [*HOSTILE, *(f"{key}  -- {about}" for key in HOSTILE)]
    assert not (home / "pwned").exists()


def test_its_help_says_how_to_install_it(maestro: CommandLine) -> None:
    told = maestro.here("completion", "--help").out
    assert all(line in told for line in ('eval "$(maestro completion bash)"', "~/.zshrc", "config.fish"))


def test_short_names_do_what_they_stand_for_and_are_not_listed(maestro: CommandLine, daemon: Scripted) -> None:
    for words in ("agent ls", "task ls", "state ls", "node ls", "workspace ls", "queue ls", "ps"):
        assert maestro.here(*words.split()).code == 0
    assert [type(command) for command in daemon.commands] == [
        p.AgentList, p.TaskList, p.StateList, p.NodeList, p.WorkspaceList, p.QueueStatus, p.QueueStatus,
    ]  # fmt: skip
    assert maestro.here("config", "ls").out == maestro.here("config", "show").out
    for words in ("--help", "agent --help", "queue --help"):
        listed = maestro.here(*words.split()).out.split("Commands:")[1]
        assert not {"ls", "ps"} & {line.split()[0] for line in listed.splitlines() if line.strip()}
