"""What a run would do, for `workflow run --dry-run`: the order, who would work, and what they would be told."""

from __future__ import annotations

from typing import Any

from maestro.model.agent import Agent
from maestro.model.events import WorkflowRunStarted
from maestro.model.target import is_pool, who
from maestro.model.workflow.checks import PREVIOUS
from maestro.model.workflow.definition import Step
from maestro.model.workflow.graph import graph_of
from maestro.model.workflow.overrides import STAND_IN
from maestro.model.workflow.stored.starting import Target
from maestro.model.workflow.template import Kind, Template, TemplateFailed
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.handlers.workflows.workforce import Workforce
from maestro.runtime.server.rows import Row

KNOWN = ("vars", "previous", "round")
"""What a template may read before the run begins: of these the values in the first attempt and round."""


async def preview(target: Target, wanted: WorkflowRunStarted, workforce: Workforce) -> Row:
    """The run as it would begin. Nothing is appended."""
    graph = graph_of(target.workflow)
    steps = {step.id: step for step in target.workflow.steps}
    values = {"vars": wanted.params, "round": 1, "previous": dict.fromkeys(PREVIOUS, "")}
    evaluator = Evaluator()
    rows: list[Row] = []
    reused = {name.partition("#")[0].partition("[")[0] for name in wanted.reused}
    try:
        for id in graph.order:
            step = steps[id]
            chain = workforce.chain(step)
            told, why = await _told(evaluator, step, values)
            rows.append(
                {
                    "id": id,
                    "needs": list(graph.needs[id]),
                    "does": step.kind,
                    "only_after_failure": bool(graph.below[id]),
                    "reused": id in reused and id not in wanted.items,
                    "agents": list(chain),
                    "chosen": _chosen(chain, workforce),
                    "workflow": step.workflow or None,
                    "prompt": told,
                    "why": why,
                }
            )
    finally:
        await evaluator.aclose()
    return {
        "workflow": target.id,
        "version": target.version or None,
        "params": wanted.params,
        "group": wanted.group or None,
        "resumed_from": wanted.resumed_from or None,
        "children": {name: one.version for name, one in sorted(target.children.items())},
        "steps": rows,
    }


async def _told(evaluator: Evaluator, step: Step, values: dict[str, Any]) -> tuple[str | None, str | None]:
    """What a step is told in its first attempt, or why that is not known yet."""
    kind: Kind = "script" if step.kind == "run" else "text"
    text = step.run or step.prompt
    if not text and not isinstance(step.approval, bool):
        text = step.approval.prompt
    if not text:
        return None, None
    later = dict.fromkeys(f"`{read.root}`" for read in Template(text, kind).reads if read.root not in KNOWN)
    if later:
        return None, f"reads {', '.join(later)}"
    try:
        return (text if "{" not in text else str(await evaluator.render(kind, text, values))), None
    except TemplateFailed as error:
        return None, f"would fail: {error.what}"


def _chosen(chain: tuple[str, ...], workforce: Workforce) -> str | None:
    """Who would take it now: of the chain the first that is able, of a pool one that is idle."""
    for target in chain:
        if target in (STAND_IN, "run"):
            return target
        able = [one for one in workforce.members.of.get(who(target), ()) if one.healthy and not one.stopped]
        if able:
            return min(able, key=_order).id
    return next((one for one in chain if not is_pool(one) and who(one) in workforce.agents), None)


def _order(agent: Agent) -> tuple[bool, int, str]:
    return bool(agent.task), agent.priority, agent.id
