"""Tidiness, without a list of exemptions: a rule that does not hold everywhere is changed here or kept."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import sources

CODE_LINES_MAX = 300
FILE_LINES_MAX = 320
TEST_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 7
MODULES_MAX = 20
LINE_LENGTH_MAX = 120
NOT_NAMES = {"base", "common", "helper", "helpers", "manager", "util", "utils"}
TOP = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "maestro",
    "projections",
    "pyproject.toml",
    "replayers",
    "tests",
    "tools",
}
CODE = {"", ".py", ".lua", ".sh", ".toml", ".yaml", ".yml"}
# Each pattern is written so that it does not find itself.
LEFT_OPEN = re.compile(r"\bTO[D]O\b|\bFIX[M]E\b|\bXX[X]\b|NotImplement[e]d")
LEFT_OUT = re.compile(r"pytest\.(mark\.)?(sk[i]p|skip[i]f|xf[a]il|importorsk[i]p)|@unittest\.sk[i]p")
BY_NAME = re.compile(r"\bpk[i]ll\b|\bkill[a]ll\b|\bpidof[ ]|\bpg[r]ep\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[Path, Function]]:
    """Every function of the project, methods and nested ones too."""
    for path in sources.modules():
        for node in ast.walk(sources.tree(path)):
            if isinstance(node, Function):
                yield path, node


def found(pattern: re.Pattern[str], *tops: str) -> list[str]:
    """Where a pattern occurs in code (of these top-level folders)."""
    paths = [path for path in sources.files() if path.suffix in CODE and (not tops or path.parts[0] in tops)]
    return [
        f"{path}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(sources.text(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_top_level_is_the_one_that_the_design_fixes() -> None:
    top = {path.parts[0] for path in sources.files()}
    assert {name for name in top if not name.startswith(".")} == TOP


def test_files_are_short_enough_to_read_at_once() -> None:
    code = [path for path in sources.files() if path.suffix in {".py", ".lua", ".sh"}]
    lengths = {path: len(sources.text(path).splitlines()) for path in code}
    limits = {path: TEST_LINES_MAX if path.parts[0] == "tests" else FILE_LINES_MAX for path in code}
    assert not {str(path): lines for path, lines in lengths.items() if lines > limits[path]}
    lengths = {path: sources.code_lines(path) for path in sources.modules()}
    assert not {str(path): lines for path, lines in lengths.items() if lines > CODE_LINES_MAX}


def test_folders_are_small_enough_to_look_over() -> None:
    """The command line has a file for each group of commands, and may have more."""
    folders = Counter(path.parent for path in sources.modules() if path.name != "__init__.py")
    assert not {str(path): count for path, count in folders.items() if count > MODULES_MAX and path.name != "cli"}


def test_functions_are_short_enough_to_read_at_once() -> None:
    lengths = {f"{path}:{node.lineno} {node.name}": lines(node) for path, node in functions()}
    assert not {name: length for name, length in lengths.items() if length > FUNCTION_LINES_MAX}


def test_functions_take_few_parameters() -> None:
    counts = {f"{path}:{node.lineno} {node.name}": parameters(node) for path, node in functions()}
    assert not {name: count for name, count in counts.items() if count > PARAMETERS_MAX}


def test_no_name_says_that_its_bearer_has_no_subject() -> None:
    named = [(str(path), words(part)) for path in sources.modules() for part in path.with_suffix("").parts]
    for path in sources.modules():
        classes = [node.name for node in ast.walk(sources.tree(path)) if isinstance(node, ast.ClassDef)]
        named += [(f"{path} {name}", words(name)) for name in classes]
    assert not [where for where, said in named if said & NOT_NAMES]


def test_every_module_tells_its_part_in_a_docstring() -> None:
    silent = [str(path) for path in sources.modules() if not ast.get_docstring(sources.tree(path))]
    assert not silent


def test_every_script_tells_what_it_does_in_its_first_lines() -> None:
    scripts = [path for path in sources.files() if path.suffix in {".lua", ".sh"} or path.parts[0] in {".ci"}]
    scripts += [path for path in sources.files() if path.parts[0] == "tools" and not path.suffix]
    comment = re.compile(r"^(#|--) ?\w", re.MULTILINE)
    silent = [str(path) for path in scripts if not comment.search("\n".join(sources.text(path).splitlines()[:4]))]
    assert not silent


def test_nothing_is_left_open() -> None:
    assert not found(LEFT_OPEN)


def test_no_test_is_left_out() -> None:
    assert not found(LEFT_OUT, "tests")


def test_nothing_looks_for_or_ends_a_process_by_its_name() -> None:
    assert not found(BY_NAME)


def test_every_line_fits_and_ends_clean() -> None:
    paths = [path for path in sources.files() if path.suffix in {"", ".lua", ".sh"} and path.name != "LICENSE"]
    wrong = [
        f"{path}:{number}"
        for path in paths
        for number, line in enumerate(sources.text(path).splitlines(), 1)
        if line != line.rstrip() or "\t" in line or len(line) > LINE_LENGTH_MAX
    ]
    assert not wrong


@pytest.mark.parametrize("script", ["tools/quickstart", "tools/test", ".ci/run"])
def test_what_a_newcomer_runs_can_be_run(script: str) -> None:
    assert (sources.ROOT / script).stat().st_mode & 0o111 == 0o111


def lines(node: Function) -> int:
    """The lines of a function, its docstring counted, its decorators not."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def parameters(node: Function) -> int:
    """The parameters of a function. The options of a command (`Annotated[…]`, or a name for one) are its user's."""
    args = node.args
    named = [arg for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs] if arg.arg not in {"self", "cls"}]
    told = [ast.unparse(arg.annotation or ast.Constant("")) for arg in named]
    return len(
        [text for text in told if not text.startswith("Annotated[") and not text.endswith(("Option", "Argument"))]
    )


def words(name: str) -> set[str]:
    """The words of a name in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)}
