"""Workflows on a node, driven by the command line as a user does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from maestro.model.events import AnyFact, Event, NewEvent
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.run_reader import run_events
from maestro.store.contract import Append
from projections.view_reader import Views
from tests.runtime.acting import Node, until


class Flow:
    """One workflow, and its newest run."""

    def __init__(self, node: Node, definition: dict[str, Any], name: str = "") -> None:
        self.node = node
        self.name = name or f"f{uuid4().hex[:8]}"
        self.run = ""
        self.store(definition)

    @property
    def file(self) -> Path:
        return self.node.folder / f"{self.name}.yaml"

    def store(self, definition: dict[str, Any]) -> None:
        """Store a version of it; JSON is YAML."""
        self.file.write_text(json.dumps(definition))
        self.node.json("workflow", "create", self.name, "--definition", str(self.file))

    def start(self, *words: str) -> Flow:
        """Start a run, and do not wait for it."""
        done = self.node.run("workflow", "run", self.name, "--async", "-q", *words)
        assert done.returncode == 0, done
        self.run = done.stdout.strip()
        return self

    def queue(self, started: AnyFact, count: int) -> list[str]:
        """Start more runs like one, in one append; their ids, in order."""
        ids = [new_id() for _ in range(count)]
        facts = {id: msgspec.structs.replace(started, run=id) for id in ids}
        events = tuple(NewEvent(f"workflow-run:{id}", fact, None) for id, fact in facts.items())
        store = self.node.store()
        try:
            store.log.commit([Append(events, "test", "test")], None)
        finally:
            store.close()
        return ids

    def to_end(self, code: int = 0) -> dict[str, Any]:
        """Wait for the end of the run; its status."""
        done = self.node.run("workflow", "wait", self.run)
        assert done.returncode == code, (done, self.status())
        return self.status()

    def status(self) -> dict[str, Any]:
        row: dict[str, Any] = self.node.json("workflow", "status", self.run)
        return row

    def steps(self) -> dict[str, dict[str, Any]]:
        """The rows of the run's instances, by id."""
        return {row["id"]: row for row in self.status()["steps"]}

    def until(self, step: str, status: str = "", waiting_for: str = "") -> dict[str, Any]:
        """Wait until an instance is as that says; its row."""

        def is_so() -> dict[str, Any] | None:
            row = self.steps().get(step)
            if row is None or (status and row["status"] != status):
                return None
            return row if not waiting_for or row["waiting_for"] == waiting_for else None

        found: dict[str, Any] = until(is_so)
        return found

    def events(self) -> list[Event]:
        """The events of the run."""
        store = self.node.store()
        try:
            header = Views(store).workflow_run(self.run).row
            assert header is not None
            return run_events(store.log, header)
        finally:
            store.close()

    def count(self, type: str) -> int:
        """How many events of a type the run has."""
        return sum(event.type == type for event in self.events())
