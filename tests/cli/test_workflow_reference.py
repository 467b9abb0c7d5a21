"""The reference of `maestro help workflows` names exactly what a definition has, and the limits that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from maestro.documents import answer_schemas, workflow_file
from maestro.model.workflow import status, template
from maestro.model.workflow.checking import template_checks
from maestro.model.workflow.definition import (
    Again,
    Approval,
    Budget,
    Concurrency,
    Files,
    Keys,
    Retries,
    Schedule,
    Step,
    Workflow,
)
from maestro.runtime.evaluation import evaluation_process, evaluator
from maestro.runtime.scheduler.workflows import works
from maestro.workspaces import step_files
from tests.house import sources

REFERENCE = sources.text(Path("maestro/docs/workflows.md")).partition("\n## Reference\n")[2]
PARTS: dict[str, type[Keys]] = {
    "retries.": Retries, "again.": Again, "approval.": Approval, "files.": Files, "budget.": Budget,
    "concurrency.": Concurrency, "schedules[].": Schedule,
}  # fmt: skip


def section(title: str) -> str:
    """The text below a heading of the reference."""
    text = REFERENCE.partition(f"\n### {title}\n")[2]
    assert text, title
    return text.partition("\n### ")[0]


def rows(title: str) -> dict[str, list[str]]:
    """The rows of the tables below a heading, by what is in their first cell."""
    found = [re.split(r"(?<!\\)\|", line.strip("|")) for line in section(title).splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in found}


def keys_of(kind: type[Keys], prefix: str = "") -> dict[str, object]:
    """The keys of a part with their defaults; `required` where there is none."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        found[prefix + field.encode_name] = "required" if made is msgspec.NODEFAULT else made
    return found


def test_the_tables_name_exactly_the_keys_and_their_defaults() -> None:
    known = {"Workflow": keys_of(Workflow), "Steps": keys_of(Step)}
    parts: dict[str, object] = {}
    for prefix, kind in PARTS.items():
        parts |= keys_of(kind, prefix)
    told = {**rows("Retries, again, approval, files"), **rows("Budget, concurrency, schedules")}
    assert list(rows("Workflow")) == list(known["Workflow"])
    assert set(rows("Steps")) == set(known["Steps"])
    assert list(told) == list(parts)
    for cells, default in [
        *((rows(title)[key], default) for title, keys in known.items() for key, default in keys.items()),
        *((told[key], default) for key, default in parts.items()),
    ]:
        said = cells[1].strip("`")
        if default == "required" or isinstance(default, (bool, int, float)):
            assert said == (
                default if isinstance(default, str) else msgspec.json.encode(default).decode().removesuffix(".0")
            )
        elif isinstance(default, str) and default:
            assert said == default


def test_the_templates_have_what_it_says() -> None:
    told = rows("Templates")
    assert {name for root in told for name in root.replace("`", "").replace("steps.S", "steps").split(", ")} == set(
        template.ROOTS
    )
    assert re.findall(r"`(\w+)`", told["steps.S"][0]) == list(template_checks.FIELDS)
    assert re.findall(r"`(\w+)`", told["previous"][0]) == list(template_checks.PREVIOUS)
    assert set(re.findall(r"`(\w+)`", told["run"][0])) == set(template_checks.RUN)


def test_the_limits_are_those_of_the_code() -> None:
    text = section("Limits")
    limits = workflow_file.LIMITS
    assert f"| {limits.bytes_max >> 20} MiB, {limits.depth_max} levels, {limits.nodes_max:,} values |" in text
    assert f"| {workflow_file.SHOWN_MAX} |" in text
    assert (
        f"| {evaluator.TIME_S:g} s, {evaluation_process.MEMORY_MAX >> 20} MiB, {template.RESULT_MAX >> 20} MiB |"
        in text
    )
    assert f"| {works.ITEMS_MAX:,} |" in text
    assert f"| {answer_schemas.VALUES_MAX:,} |" in text
    each, whole = step_files.FILE_BYTES_MAX >> 20, step_files.ALL_BYTES_MAX >> 20
    assert f"| {step_files.FILES_MAX:,}; {each} MiB each, {whole} MiB together |" in text
    assert f"| {status.INLINE_MAX:,} characters;" in text
