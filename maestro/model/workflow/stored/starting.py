"""The start of a run: from a definition and its pinned children to the event; for commands and schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from maestro.model.events import Text, WorkflowRunStarted
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.resumption import Resumption


class Pinned(msgspec.Struct, frozen=True):
    """A workflow below a run, at the version that it has for that run."""

    version: int
    definition: Workflow


class Target(msgspec.Struct, frozen=True):
    """What a run is of. definition: as the event has it, perhaps as a blob; children: all workflows below, by id."""

    id: str
    version: int
    workflow: Workflow
    definition: Text
    children: Mapping[str, Pinned]


class Place(msgspec.Struct, frozen=True):
    """Where the folder of a run is."""

    node: str
    folder: str


class Before(msgspec.Struct, frozen=True):
    """A run that is taken up again, and what of it."""

    run: str
    takes: Resumption


class Wish(msgspec.Struct, frozen=True):
    """What a start asks for, but for its workflow. overrides: agent, or `*`, to agent; before: the run it takes up."""

    priority: int | None = None
    trace: bool = False
    key: str | None = None
    overrides: Mapping[str, str] = {}
    restores: bool = False
    force: bool = False
    before: Before | None = None


def canonical(workflow: Workflow) -> str:
    """A definition as canonical JSON: the same text for the same definition."""
    return msgspec.json.encode(workflow, order="deterministic").decode()


def canonical_children(children: Mapping[str, Pinned]) -> str:
    """Pinned workflows as canonical JSON, "" for none."""
    return msgspec.json.encode(dict(children), order="deterministic").decode() if children else ""


def folder_of(root: str, run: str) -> str:
    """The folder of a run below a node's workspace root."""
    return f"{root}/.workflows/{run}"


def start_of(
    run: str, target: Target, params: Mapping[str, Any], group: str, place: Place, wish: Wish
) -> WorkflowRunStarted:
    """The start of a run. params: all of its vars; group: rendered. Its children are a text, perhaps a blob, which who
    appends it puts in: `canonical_children`.
    """
    before = wish.before
    takes = before.takes if before else None
    return WorkflowRunStarted(
        run=run,
        workflow=target.id,
        version=target.version,
        definition=target.definition,
        params=dict(params),
        resumed_from=before.run if before else "",
        reused=takes.reused if takes else {},
        rounds=takes.rounds if takes else {},
        turns=takes.turns if takes else {},
        turned=takes.turned if takes else (),
        items=takes.items if takes else {},
        group=group,
        when_busy=target.workflow.concurrency.when_busy if target.workflow.concurrency else "queue",
        priority=wish.priority,
        trace=wish.trace,
        overrides=dict(wish.overrides),
        node=place.node,
        folder=place.folder,
        key=wish.key,
        restores=wish.restores,
        archives=takes.archives if takes else {},
        force=wish.force,
    )
