"""Random workflows without findings: graphs with loops, items, retries, approvals, chains, archives, handlers."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from maestro.model.workflow.checks import findings
from maestro.model.workflow.definition import Workflow

STEPS_MAX = 7


def _chance(draw: st.DrawFn, of: int) -> bool:
    return draw(st.integers(1, of)) == 1


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """A definition without findings."""
    count = draw(st.integers(1, STEPS_MAX))
    main = [f"s{number}" for number in range(count)]
    handlers = [f"h{number}" for number in range(draw(st.integers(0, 2)))]
    steps: list[dict[str, Any]] = []
    for number in range(count):
        steps.append(_step(draw, main[: number + 1], handlers))
        steps[-1] |= _again(draw, _before(steps), 2)
    steps += [{"id": name, "run": "true", **_again(draw, [name], 4)} for name in handlers]
    steps += [{"id": f"{name}b", "run": "true", "needs": [name]} for name in handlers if draw(st.booleans())]
    keys: dict[str, Any] = {"steps": steps}
    if handlers and draw(st.booleans()):
        keys["on_failure"] = draw(st.sampled_from(handlers))
    if draw(st.booleans()):
        steps.append({"id": "last", "run": "true"})
        keys["finally"] = "last"
    if _chance(draw, 4):
        keys["timeout"] = draw(st.integers(1, 200))
    if _chance(draw, 4):
        keys["budget"] = {"tokens": draw(st.integers(1, 30)), "on_exceeded": draw(st.sampled_from(["pause", "stop"]))}
    workflow = msgspec.convert(keys, Workflow)
    for step in reversed(steps):  # those that overlap go, the last ones first
        if not findings(workflow):
            break
        step.pop("again", None)
        workflow = msgspec.convert(keys, Workflow)
    assert not findings(workflow), findings(workflow)
    return workflow


def _before(steps: list[dict[str, Any]]) -> list[str]:
    """The last step, and all that it needs."""
    found = {steps[-1]["id"]}
    for step in reversed(steps):
        if step["id"] in found:
            found |= set(step.get("needs", ()))
    return sorted(found)


def _step(draw: st.DrawFn, before: list[str], handlers: list[str]) -> dict[str, Any]:
    """The last of the steps `before`, which may need the others."""
    key: dict[str, Any] = {"id": before[-1], "run": "true"}
    if _chance(draw, 3):
        key = {"id": before[-1], "prompt": "x", "agent": draw(st.sampled_from(["one", ["one", "two"]]))}
    if len(before) > 1:
        key["needs"] = draw(st.lists(st.sampled_from(before[:-1]), unique=True, max_size=3))
    if _chance(draw, 3):
        key["for_each"] = list(range(draw(st.sampled_from([4, 3, 2, 0]))))
        if not _chance(draw, 4):
            key["max_parallel"] = draw(st.integers(1, 2))
        key["fail_fast"] = _chance(draw, 3)
    key["on_failure"] = draw(st.sampled_from(["stop", "continue", *handlers]))
    if draw(st.booleans()):
        place = draw(st.sampled_from(["keep", "keep", "restore"]))
        retries = {"max": draw(st.integers(0, 3)), "backoff": draw(st.integers(0, 60)), "workspace": place}
        key["retries"] = retries
    if _chance(draw, 5):
        key["snapshot"] = True
    if _chance(draw, 5):
        answer = draw(st.sampled_from(["approve", "reject"]))
        key["approval"] = {"timeout": draw(st.sampled_from([None, 5])), "on_timeout": answer}
    return key


def _again(draw: st.DrawFn, before: list[str], of: int) -> dict[str, Any]:
    if not _chance(draw, of):
        return {}
    return {"again": {"from": draw(st.sampled_from(before)), "until": "true", "max": draw(st.integers(1, 4))}}
