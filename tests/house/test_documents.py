"""The documents are about this house: what they name is there, and they name what must be named."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro import config
from maestro.agents.schema import TypeDocument
from maestro.cli import app, help as help_command
from maestro.model import errors, outcome
from maestro.model.events import FACTS
from maestro.model.workflow.run import LINKS
from maestro.runtime.handlers.task_sets.batch_lines import FIELDS, read_line
from projections.fold import VIEWS
from tests.house import documents, sources
from tests.house.documents import README, SETTINGS

PAGE_COMMAND = re.compile(r"`maestro [^`${]+`")
README_LINES_MAX = 150
LINE_LENGTH_MAX = 120
SUMMARY_MAX = 66
"""So that a line of `maestro help` fits a terminal of 80 columns."""
OUTCOME_AT = {"End": 1, "WorkflowRunFinished": 2, "StepEnded": 3}
"""Which argument is the outcome."""
EXIT_CODE = re.compile(r"\bexit(?:s)?(?: code)? (\d+)\b")

every_document = pytest.mark.parametrize("path", documents.paths(), ids=str)


def test_the_keys_of_a_batch_are_those_that_tasks_md_lists() -> None:
    text = sources.text(Path("maestro/docs/tasks.md"))
    table = text.partition("| key |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(FIELDS)
    examples = text.partition("```json\n")[2].partition("```")[0].splitlines()
    assert examples and not [line for line in examples if read_line(1, line.encode()).errors]


def test_there_is_a_document_for_each_topic_and_a_readme_for_each_floor() -> None:
    found = {str(path) for path in documents.paths()}
    assert len([path for path in found if path.startswith("maestro/docs/")]) >= 9
    rooms = ("maestro/cli", "maestro/model", "maestro/runtime", "maestro/store", "maestro/workspaces")
    assert {f"{room}/README.md" for room in (*rooms, "projections", "replayers", "tools", "tools/bench")} <= found


@every_document
def test_every_path_that_it_names_exists(path: Path) -> None:
    assert not documents.missing_paths(path)


@every_document
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    assert not documents.broken_links(path)


@every_document
def test_every_command_and_option_that_it_names_exists(path: Path) -> None:
    assert not documents.wrong_commands(sources.text(path))


@pytest.mark.parametrize("path", sorted(Path("maestro/board/page").rglob("*.*")), ids=str)
def test_every_command_that_the_board_s_page_names_exists(path: Path) -> None:
    assert not documents.wrong_commands("\n".join(PAGE_COMMAND.findall(sources.text(path))))


@pytest.mark.parametrize(
    "said",
    [
        "maestro bogus", "maestro task bogus", "maestro task list --bogus", "task bogus", "state verify --rolling",
        "--no-such-option", "tools/test --oldest", "maestro state restore latest --rolling | cat",
    ],
)  # fmt: skip
def test_a_command_that_there_is_not_would_be_noticed(said: str) -> None:
    assert documents.wrong_commands(f"Try `{said}`.") == [said]
    assert documents.wrong_commands(f"```console\n$ {said}\n```\n") == [said]


@every_document
def test_every_exit_code_that_it_names_is_in_the_table(path: Path) -> None:
    assert {int(code) for code in EXIT_CODE.findall(sources.text(path))} <= set(exit_codes())


@every_document
def test_every_variable_that_it_names_is_read_somewhere(path: Path) -> None:
    read = "\n".join(sources.text(each) for each in sources.files() if each.suffix in {".py", ".yaml"}) + settings()
    assert not [name for name in re.findall(r"MAESTRO_[A-Z_]*[A-Z]", sources.text(path)) if name not in read]


@every_document
def test_every_event_that_it_names_exists(path: Path) -> None:
    kinds = {name.split(".")[0] for name in FACTS}
    spans = [span for span in documents.SPAN.findall(sources.text(path)) if re.fullmatch(r"[a-z]+\.[a-z_]{3,}", span)]
    assert not [span for span in spans if span.split(".")[0] in kinds and span not in {*FACTS, "agent.log"}]


@every_document
def test_its_lines_fit_but_for_rows_of_tables_and_drawings(path: Path) -> None:
    lines = sources.text(path).splitlines() if path == README else documents.prose(path).splitlines()
    tables = () if path == README else ("|",)
    assert not [line for line in lines if len(line) > LINE_LENGTH_MAX and not line.startswith(tables)]


@every_document
def test_no_command_or_name_is_broken_over_two_lines(path: Path) -> None:
    """The other tests would not see it, nor could it be copied."""
    assert not [line for line in documents.prose(path).splitlines() if line.count("`") % 2]


def test_the_readme_is_read_in_some_minutes() -> None:
    assert len(sources.text(README).splitlines()) <= README_LINES_MAX


def test_the_readme_names_the_two_commands_and_an_environment_of_its_own() -> None:
    named = ("tools/quickstart", "tools/test", "uv tool install", "pipx install", "maestro help")
    assert not [name for name in named if name not in sources.text(README)]


def test_every_dependency_is_named_with_its_reason() -> None:
    declared = tomllib.loads((sources.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[\[<>=;! ]", line)[0] for line in declared]
    rows = re.findall(r"^\| (`[\w-]+`[^|]*)\| (.{10,}) \|$", sources.text(README), re.MULTILINE)
    assert not set(names) - {name for cell, _ in rows for name in re.findall(r"`([\w-]+)`", cell)}


def test_the_readme_leads_to_every_document() -> None:
    linked = {target for target, _ in documents.LINK.findall(sources.text(README))}
    assert {str(path) for path in documents.paths()} - {str(README)} <= linked


def test_every_variable_that_the_settings_read_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", sources.text(SETTINGS), re.MULTILINE)
    assert set(settings().split()) == set(rows)


def test_every_exit_code_has_a_row() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MaestroError)]
    assert sorted(exit_codes()) == sorted({0, app.EXIT_INTERRUPTED, app.EXIT_PIPE} | {kind.exit_code for kind in kinds})


def test_every_event_has_its_place_in_the_table() -> None:
    rows = re.findall(r"^\| `[\w-]+:[^|]*\| (.*) \|$", sources.text(Path("maestro/docs/events.md")), re.MULTILINE)
    assert sorted(documents.SPAN.findall(" ".join(rows))) == sorted(FACTS)


def test_every_view_is_named() -> None:
    assert not [name for name in VIEWS if f"`{name}`" not in sources.text(Path("maestro/docs/replay.md"))]


def test_every_outcome_of_a_run_and_status_of_a_task_is_explained() -> None:
    table = sources.text(Path("maestro/docs/operations.md")).partition("## How runs and tasks end")[2]
    assert not [name for name in (*outcome.SEVERITY, *outcome.FINISHED) if f"`{name}`" not in table]


def test_every_outcome_that_only_steps_and_runs_of_workflows_have_is_explained() -> None:
    table = sources.text(Path("maestro/docs/operations.md")).partition("## How steps and runs of workflows end")[2]
    found = {name for path in sources.modules() if "workflow" in str(path) for name in outcomes(path) if name.isalpha()}
    assert {"template", "rejected", "restore"} <= found
    known = {*outcome.SEVERITY, *outcome.FINISHED}
    assert not [name for name in {*found, *LINKS, "no_convergence", "restored"} - known if f"`{name}`" not in table]


def outcomes(path: Path) -> Iterator[str]:
    """The outcomes that a module of the program gives to steps and runs of workflows."""
    for node in ast.walk(sources.tree(path)) if path.parts[0] == "maestro" else ():
        values: list[ast.expr] = []
        if isinstance(node, ast.Call):
            values = [keyword.value for keyword in node.keywords if keyword.arg == "outcome"]
            at = OUTCOME_AT.get(getattr(node.func, "id", getattr(node.func, "attr", "")), len(node.args))
            values += node.args[at : at + 1]
        elif isinstance(node, ast.Assign) and "outcome" in ast.unparse(node.targets[0]).split(",")[0]:
            values = [node.value]
        while values:
            match values.pop():
                case ast.IfExp(body=body, orelse=orelse):
                    values += [body, orelse]
                case ast.Tuple(elts=[first, *_]):
                    values.append(first)
                case ast.Constant(value=str(name)):
                    yield name


def test_every_key_of_an_agent_type_is_in_the_table() -> None:
    table = sources.text(Path("maestro/docs/agent-types.md")).partition("## All keys")[2]
    assert not [name for name in TypeDocument.__struct_fields__ if f"`{name}`" not in table]


@pytest.mark.parametrize("topic", help_command.topics())
def test_a_document_begins_with_its_title_and_a_line_that_says_what_it_tells(topic: str) -> None:
    text = sources.text(Path(f"maestro/docs/{topic}.md"))
    assert re.match(r"# [A-Z][\w ]+\n\n\S", text)
    assert 20 <= len(help_command.summary(topic)) <= SUMMARY_MAX
    assert help_command.summary(topic).endswith(".")


def settings() -> str:
    """The variables that the settings read, one a line."""
    return "\n".join(str(row["name"]) for row in config.show(config.load({"HOME": "/nowhere"})))


def exit_codes() -> list[int]:
    """The codes that the table of exit codes explains."""
    table = sources.text(SETTINGS).partition("## Exit codes")[2]
    return [int(code) for code in re.findall(r"^\| (\d+) \| \w", table, re.MULTILINE)]
