"""`maestro help`: topics and documents, on a terminal, in a pipe, and where a name is mistyped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.cli import help as help_command
from tests.cli.conftest import CommandLine, Env

TOPICS = {
    "agent-types", "board", "events", "extending", "mcp", "monitoring", "nodes", "operations", "python", "replay",
    "security", "settings", "snapshots", "tasks", "terminal", "words", "workflows", "workspaces",
}  # fmt: skip
COLUMNS = 80


def pager(folder: Path, body: str) -> str:
    """The path of a program that stands in for a pager."""
    program = folder / "pager"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_the_topics_are_listed_with_a_line_each_that_fits_a_terminal(maestro: CommandLine) -> None:
    code, out, err = maestro.here("help")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert {line.split()[0] for line in lines[: lines.index("")]} == TOPICS
    assert all(len(line) <= COLUMNS and len(line.split()) > 3 for line in lines if line)
    assert maestro.on_terminal("help", COLUMNS=str(COLUMNS)).out == out


def test_the_list_is_wrapped_where_the_terminal_is_narrow(maestro: CommandLine) -> None:
    narrow, wide = maestro.on_terminal("help", COLUMNS="40").out, maestro.here("help").out
    lines = narrow.splitlines()
    assert all(len(line) <= 40 for line in lines[: lines.index("")])
    assert narrow.split() == wide.split()


@pytest.mark.parametrize("columns", ["60", "80"])
def test_no_name_in_a_table_is_cut(maestro: CommandLine, columns: str) -> None:
    shown = maestro.on_terminal("help", "settings", COLUMNS=columns, PAGER="cat", NO_COLOR="1").out
    assert shown.count("…") == (help_command.FOLDER / "settings.md").read_text().count("…")


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_document_is_its_markdown_where_no_terminal_is(maestro: CommandLine, topic: str) -> None:
    assert maestro.here("help", topic) == (0, (help_command.FOLDER / f"{topic}.md").read_text(), "")


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_document_is_rendered_on_a_terminal(maestro: CommandLine, topic: str) -> None:
    code, out, _ = maestro.on_terminal("help", topic, COLUMNS=str(COLUMNS), PAGER="", NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in out
    assert "|---" not in out and "**" not in out and ".md)" not in out
    assert all(len(line) <= COLUMNS and not line.startswith("#") for line in out.splitlines())


def test_a_terminal_has_colours_unless_they_are_unwanted(maestro: CommandLine) -> None:
    assert "\x1b[" in maestro.on_terminal("help", "words", PAGER="").out
    assert "\x1b[" not in maestro.on_terminal("help", "words", PAGER="", NO_COLOR="1").out
    assert "\x1b[" not in maestro.on_terminal("help", "words", TERM="dumb").out


def test_a_link_to_another_document_is_the_command_that_shows_it(maestro: CommandLine) -> None:
    words = maestro.on_terminal("help", "words", PAGER="", NO_COLOR="1").out.split()
    assert "(maestro help agent-types)" in " ".join(words)


def test_the_users_pager_shows_it(maestro: CommandLine, tmp_path: Path) -> None:
    chosen = pager(tmp_path, 'echo "LESS=$LESS $1"; wc -l')
    out = maestro.on_terminal("help", "words", PAGER=f"{chosen} --quiet", LESS="").out
    first, second = out.splitlines()
    assert first == "LESS= --quiet" and int(second) > 10
    assert maestro.env.get("LESS") or "LESS=FRX" in maestro.on_terminal("help", "words", PAGER=chosen).out


def test_less_shows_it_where_no_pager_is_named(maestro: CommandLine, tmp_path: Path) -> None:
    Path(pager(tmp_path, 'echo "shown by less"; cat >/dev/null')).rename(tmp_path / "less")
    maestro.env.pop("PAGER", None)
    out = maestro.on_terminal("help", "words", PATH=f"{tmp_path}:{os.environ['PATH']}").out
    assert out == "shown by less\n"


def test_a_pager_that_ends_early_is_no_error(maestro: CommandLine, tmp_path: Path) -> None:
    for body in ("exit 0", "read line; exit 1", "kill -9 $$"):
        assert maestro.on_terminal("help", "agent-types", PAGER=pager(tmp_path, body)).code == 0


@pytest.mark.parametrize("chosen", ["", "no-such-pager --x", "'unclosed", "/"])
def test_without_a_pager_that_runs_it_is_printed(maestro: CommandLine, chosen: str) -> None:
    code, out, _ = maestro.on_terminal("help", "words", PAGER=chosen, NO_COLOR="1")
    assert code == 0 and "agents.d/<slug>.yaml" in out


def test_ctrl_c_belongs_to_the_pager(maestro: CommandLine, tmp_path: Path) -> None:
    body = 'trap "echo searched" INT; kill -INT $PPID; kill -INT $$; cat >/dev/null; echo paged'
    assert maestro.on_terminal("help", "words", PAGER=pager(tmp_path, body)) == (0, "searched\npaged\n", "")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("snapshot", "did you mean `maestro help snapshots`?"),
        ("Snapshots", "did you mean `maestro help snapshots`?"),
        ("set", "did you mean `maestro help settings`?"),
        ("agent-type.md", "did you mean `maestro help agent-types`?"),
        ("alerts", "`maestro help monitoring` tells of it"),
        ("metrics", "`maestro help monitoring` tells of it"),
        ("service", "`maestro help operations` tells of it"),
        ("docker", "`maestro help security` and `maestro help monitoring` tell of it"),
        ("zzz", "`maestro help` lists the topics"),
        ("", "`maestro help` lists the topics"),
        ("../docs/words", "`maestro help` lists the topics"),
        ("x\x1b[2J", "`maestro help` lists the topics"),
    ],
)
def test_an_unknown_topic_is_told_with_the_nearest_one(maestro: CommandLine, typed: str, said: str) -> None:
    result = maestro.here("help", typed)
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("maestro: help: there is no topic ") and result.err.endswith(f"; {said}\n")
    assert result.err.count("\n") == 1 and "\x1b" not in result.err
    if "did you mean" in said:
        assert maestro.here(*said.split("`")[1].split()[1:]).code == 0


def test_the_remedy_lists_the_topics(maestro: CommandLine) -> None:
    assert maestro.here("help").out.count("\n") > len(TOPICS)


def test_topics_are_completed(env: Env) -> None:
    words = {"COMP_WORDS": "maestro help s", "COMP_CWORD": "2", "_MAESTRO_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-m", "maestro"], env={**env, **words}, capture_output=True, text=True)
    assert done.stdout.split() == ["security", "settings", "snapshots"]
    assert dict(help_command.completed("word")) == {"words": help_command.summary("words")}


def test_its_help_has_examples(maestro: CommandLine) -> None:
    out = maestro.here("help", "--help").out
    assert "maestro help snapshots" in out and "PAGER" in out and "NO_COLOR" in out
    assert "maestro help" in maestro.here("--help").out


@pytest.mark.parametrize("group", [(), ("task",)])
def test_a_group_without_a_command_prints_its_help_line_by_line(maestro: CommandLine, group: tuple[str, ...]) -> None:
    code, out, _ = maestro.here(*group)
    assert code == 0
    assert out.splitlines() == maestro.here(*group, "--help").out.splitlines()


def test_nothing_slow_is_imported(env: Env) -> None:
    code = (
        "import sys; from maestro.cli.app import run; code = run(['help', 'words']); "
        "print([name for name in ('trio', 'redis', 'rich', 'yaml', 'psutil') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stderr == "[]\n"
