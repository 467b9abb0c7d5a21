"""Attempts of workflows' steps, dispatched as their loop does it, without a workflow."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from maestro.model import events as e
from maestro.store.contract import Append
from tests.runtime.acting import Node, until

APPROVED = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
_numbers = itertools.count()


class Step:
    """One attempt of a step, appended as the loop of workflows does it."""

    def __init__(self, node: Node, prompt: Any, target: str = ".run", **fields: Any) -> None:
        self.node = node
        self.id = f"step-{next(_numbers)}"
        self.flow = fields.pop("workflow", f"flow-{self.id}")
        self.folder = Path(f"{node.root}/.workflows/{self.flow}")
        fields = {"step": "build", "node": node.id, "folder": str(self.folder)} | fields
        if target == ".run":
            fields.setdefault("command", "sh")
        fact = e.TaskDispatched(self.id, prompt, "a step", (target,), workflow=self.flow, **fields)
        store = node.store()
        try:
            store.log.commit([Append((e.NewEvent(f"task:{self.id}", fact, None),), "test", self.id)], None)
        finally:
            store.close()

    @property
    def row(self) -> dict[str, Any]:
        return self.node.task(self.id)

    def ended(self) -> e.RunEnded:
        """How its last run ended, once the task has."""
        until(lambda: self.row["finished_at"])
        facts = [event.fact for event in self.node.events("run.ended")]
        return [fact for fact in facts if isinstance(fact, e.RunEnded) and fact.task == self.id][-1]

    def text(self, value: e.Text) -> str:
        """What an event carries, fetched where it is kept apart."""
        if isinstance(value, str):
            return value
        store = self.node.store()
        try:
            return (store.blobs.get(value.blob) or b"").decode()
        finally:
            store.close()
