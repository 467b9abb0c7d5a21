"""The group of a run before it starts: its name, and whether it is free where busy ones are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maestro.model.errors import Invalid, Refused
from maestro.model.ids import check_text
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.template import TemplateFailed
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import Context

GROUP = "concurrency.group"


async def group_of(workflow: Workflow, params: Mapping[str, Any]) -> str:
    """The rendered group, "" for none. Raises Invalid for a template that fails, and for a text that is no name."""
    if workflow.concurrency is None:
        return ""
    text = workflow.concurrency.group
    if "{" in text:
        evaluator = Evaluator()
        try:
            text = str(await evaluator.render("text", text, {"vars": dict(params)}))
        except TemplateFailed as error:
            raise Invalid(error.what, GROUP, "see the params: `--dry-run` shows them") from None
        finally:
            await evaluator.aclose()
    try:
        return check_text(text, "group")
    except Invalid as error:
        raise Invalid(error.what, GROUP, error.mend) from None


async def check_free(context: Context, group: str) -> None:
    """Raise Refused where a run holds the group, or waits for it."""
    for run in await context.rows(context.views.workflow_runs, "open"):
        if group and run.group == group:
            what = f"the group {group} is busy: run {run.id} of workflow {run.workflow} is {run.status}"
            raise Refused(what, mend=f"maestro workflow wait {run.id}, or maestro workflow stop {run.id}")
