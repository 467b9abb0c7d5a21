"""Tables fit: what they leave out is said, long cells are cut or broken but never both, paths of logs stand whole."""

from __future__ import annotations

import importlib

import pytest
from rich.cells import cell_len

from maestro.cli.app import GROUPS
from maestro.cli.column import Column, change_text, field_text, order_of_leaving
from maestro.cli.help import FOLDER
from maestro.cli.printer import value_text
from maestro.cli.table import fitted
from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

MODULES = {*GROUPS.values(), "maestro.cli.snapshots", "maestro.cli.restores", "maestro.cli.run_forms"}
TABLES = {
    f"{module.rpartition('.')[2]}.{name}": value
    for module in sorted(MODULES)
    for name, value in vars(importlib.import_module(module)).items()
    if isinstance(value, tuple) and value and isinstance(value[0], Column)
}
TEXTS = (
    "x",
    "01M8NJEC2HY29GETF3PFH3H3VK",
    "2026-11-30T06:31:59Z",
    "/a/long/path/" * 9,
    "多い言葉🎉" * 12,
    "a few words " * 9,
)


def test_there_are_tables() -> None:
    assert len(TABLES) > 15


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_never_wider_than_the_terminal(name: str, width: int) -> None:
    columns = [column for column in TABLES[name] if not column.below]
    for shift in range(len(TEXTS)):
        rows = [[TEXTS[(at + shift + row) % len(TEXTS)] for at in range(len(columns))] for row in range(3)]
        drawn = fitted(columns, rows, width)
        assert max(cell_len(line) for line in (drawn.header, *drawn.lines)) <= width
        assert drawn.left_out == order_of_leaving(columns)[: len(drawn.left_out)]
        assert len(drawn.lines) == 3 or any(column.wraps for column in columns)


@pytest.mark.parametrize("name", TABLES)
def test_cells_of_a_table_are_cut_or_broken_never_both(name: str) -> None:
    wraps = any(column.wraps for column in TABLES[name])
    assert not (wraps and any(column.cuts for column in TABLES[name]))
    rows = [["words " * 40 for column in TABLES[name] if not column.below]]
    drawn = fitted([column for column in TABLES[name] if not column.below], rows, 80)
    assert ("…" in "".join(drawn.lines)) != wraps


@pytest.mark.parametrize("name", TABLES)
def test_the_order_in_which_columns_leave_is_documented(name: str) -> None:
    order = order_of_leaving(TABLES[name])
    assert len({column.leaves for column in TABLES[name] if column.leaves}) == len(order)
    assert not order or f"| {', '.join(order)} |" in (FOLDER / "terminal.md").read_text()


def test_what_stays_is_whole_as_long_as_it_can_be() -> None:
    columns = (Column("a", "A"), Column("b", "B", cuts="end", leaves=1), Column("c", "C", cuts="start"))
    row = ["id-" + "1" * 26, "text " * 20, "/srv/work/pr-123"]
    assert fitted(columns, [row], 0).lines == ["  ".join(row).rstrip()]
    assert fitted(columns, [row], 65).lines == [f"{row[0]}  text text text …  {row[2]}"]
    assert fitted(columns, [row], 48) == ("A" + " " * 30 + "C", [f"{row[0]}  {row[2]}"], ["B"])
    assert fitted(columns, [row], 40).lines == [f"{row[0]}  …k/pr-123"]
    assert fitted(columns, [row], 30).lines == [f"{row[0][:13]}…  …v/work/pr-123"]


def test_words_are_broken_at_spaces_and_paths_where_the_line_ends() -> None:
    columns = (Column("a", "A"), Column("b", "B", wraps=True))
    assert fitted(columns, [["x", "to be or not to be"]], 19).lines == ["x  to be or not to", "   be"]
    assert fitted(columns, [["x", "/" * 20]], 19).lines == ["x  " + "/" * 16, "   " + "/" * 4]
    assert fitted(columns, [["x", "漢字" * 5]], 20).lines == ["x  漢字漢字漢字漢字", "   漢字"]


RUN = {"id": "r" * 31, "agent": "tester", "status": "ended", "log": "/w/" + "deep/" * 40 + "agent.log"}


def test_a_tasks_logs_are_whole_and_what_is_left_out_is_said(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done({"id": "t", "runs": [RUN, {**RUN, "log": "/w/agent.log"}]}))
    lines = maestro.on_terminal("task", "status", "t", COLUMNS="80", NO_COLOR="1").out.splitlines()
    assert lines[-3:] == ["LOGS:", RUN["log"], "/w/agent.log"]  # TOKENS and COST say nothing, and are not missed
    used = {
        **RUN,
        "exit_code": 143,
        "duration_s": 1234.5,
        "node": "a-node-of-many",
        "usage": {"input_tokens": 9000, "output_tokens": 800, "cached_tokens": 0, "cost": 0.25},
    }
    daemon.answers(p.Done({"id": "t", "runs": [used]}))
    lines = maestro.on_terminal("task", "status", "t", COLUMNS="80", NO_COLOR="1").out.splitlines()
    assert lines[-1] == "maestro: no room for NODE, COST, TOKENS: --format json has all"
    wide = maestro.here("task", "status", "t", "--format", "table")
    assert RUN["log"] in wide.out.splitlines() and "COST" in wide.out and wide.err == ""


def test_a_table_has_no_styles_where_they_are_unwanted(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item({"id": "a"}), p.Done())
    assert "\x1b[1mAGENT" in maestro.on_terminal("agent", "list").out
    for unwanted in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in maestro.on_terminal("agent", "list", **unwanted).out
    assert "\x1b" not in maestro.here("agent", "list", "--format", "table").out


def test_a_change_is_told_by_the_fields_that_differ() -> None:
    before, after = {"id": "a", "state": "idle", "task": None}, {"id": "a", "state": "active", "task": "t1"}
    assert change_text(before, after, value_text) == "state: idle → active, task: - → t1"
    assert field_text(before, value_text) == "id=a state=idle"


def test_a_column_that_says_nothing_leaves_first_and_is_not_missed() -> None:
    columns = [Column("a", "A"), Column("b", "LONGER", leaves=2), Column("c", "SECOND", leaves=1)]
    found = fitted(columns, [["x" * 20, "-", "told"], ["y", "-", "-"]], 30)
    assert (found.header.split(), found.left_out) == (["A", "SECOND"], [])
