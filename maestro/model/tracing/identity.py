"""The identity of traces and spans: made from ids in the log, so that whoever exports an event gives it the same ones.

A trace is what one order led to: a task, or the topmost run of a workflow with all below it. A collector that gets a
span twice has it once, as both have one id.
"""

from __future__ import annotations

import hashlib

from maestro.model.events import TaskDispatched

TRACE_CHARS, SPAN_CHARS = 32, 16
SAMPLED = "01"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(("maestro", *parts)).encode("utf-8", "surrogatepass")).hexdigest()


def trace_id(namespace: str, order: str) -> str:
    """The trace of an order: the id of a task, or of the topmost run of a workflow."""
    return _digest(namespace, "trace", order)[:TRACE_CHARS]


def span_id(namespace: str, *parts: str) -> str:
    """The span of a thing: its kind, then what names it."""
    return _digest(namespace, "span", *parts)[:SPAN_CHARS]


def run_span(namespace: str, run: str, token: int) -> str:
    """The span of a run. token: of its release, as after a restore another run may have the same id."""
    return span_id(namespace, "run", run, str(token))


def order_of(dispatched: TaskDispatched) -> str:
    """What a task is part of: the topmost run of the workflow, or the task itself."""
    return dispatched.root or dispatched.workflow or dispatched.task


def traceparent(namespace: str, dispatched: TaskDispatched, run: str, token: int) -> str:
    """The value of TRACEPARENT (W3C Trace Context, level 1) that makes what a run sends part of its span."""
    return f"00-{trace_id(namespace, order_of(dispatched))}-{run_span(namespace, run, token)}-{SAMPLED}"
