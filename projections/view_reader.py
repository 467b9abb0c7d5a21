"""Reads the views: catch up, then answer from rows and indexes of one checkpoint, typed. Cost: O(answer).

A command that reads sees what it wrote itself, with or without a daemon. Lists are pages of one index; a list that is
filtered by two fields has an index of both.
"""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.agent import Agent, AgentType
from maestro.model.coordination.restore_parts import Restore
from maestro.model.node import Node
from maestro.model.placement import Homes
from maestro.model.settings.namespace_setting import Setting
from maestro.model.snapshot import Snapshot
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.stored_workflow import StoredWorkflow
from maestro.store.contract import Checkpoint, PageQuery
from projections import (
    agents,
    homes,
    nodes,
    queue,
    restores,
    settings,
    snapshots,
    state,
    tasks,
    workflow_runs,
    workflows,
)
from projections.monitoring.queries import MonitoringQueries
from projections.view_calls import ALL as ALL, Found as Found, Listed as Listed

QUEUE_PARTS = ("open", "waiting", "processing", "completed")


class Views(MonitoringQueries):
    """Typed queries of the views. Thread-safe. Raises StoreAway, and what Projector.catch_up raises."""

    # ---- agents and nodes ----

    def agents(self, state: str | None = None) -> Listed[Agent]:
        """All agents, or those in a state (active, idle, failed, stopped), oldest assignment first."""
        return self._list(agents.NAME, PageQuery(agents.NAME, _index("state", state) or "agents", 0, ALL, newest=False))

    def agent(self, agent: str) -> Found[Agent]:
        """One agent by id."""
        return self._find(agents.NAME, f"agent:{agent}")

    def types(self) -> Listed[AgentType]:
        """All registered types, oldest first."""
        return self._list(agents.NAME, PageQuery(agents.NAME, "types", 0, ALL, newest=False))

    def type(self, slug: str) -> Found[AgentType]:
        """One registered type by slug."""
        return self._find(agents.NAME, f"type:{slug}")

    def nodes(self) -> Listed[Node]:
        """All nodes, oldest first."""
        return self._list(nodes.NAME, PageQuery(nodes.NAME, "all", 0, ALL, newest=False))

    def node(self, node: str) -> Found[Node]:
        """One node by id."""
        return self._find(nodes.NAME, node)

    def homes(self, which: str = "moved") -> Listed[Homes]:
        """The homes of agents: of all, or of those that have had some on several nodes."""
        return self._list(homes.NAME, PageQuery(homes.NAME, which, 0, ALL, newest=False))

    def homes_of(self, agent: str) -> Found[Homes]:
        """The homes of one agent by id."""
        return self._find(homes.NAME, agent)

    # ---- tasks and the queue ----

    def task(self, task: str) -> Found[Task]:
        """One task by id, open or finished."""
        return self._find(tasks.NAME, task)

    def tasks(
        self,
        agent: str | None = None,
        status: str | None = None,
        since: int = 0,
        before: int | None = None,
        limit: int = 100,
        newest: bool = True,
    ) -> Listed[Task]:
        """A page of tasks by their dispatch, newest first; total counts the whole index, not the range.

        Without those of workflows' steps. agent: an agent id, or a target as named (`role:x`).
        since, before: positions; tasks dispatched at or after `since`, and before `before` (for the next page, the
        `position` of the last row).
        """
        last = None if before is None else before - 1
        return self._list(tasks.NAME, PageQuery(tasks.NAME, _of(agent, status), 0, limit, newest, since or None, last))

    def step_tasks(
        self, agent: str | None = None, status: str | None = None, since: int = 0, limit: int = 100
    ) -> Listed[Task]:
        """A page of the tasks of workflows' steps, as `tasks` has the others."""
        index = f"{tasks.OF_STEPS}{_of(agent, status)}"
        return self._list(tasks.NAME, PageQuery(tasks.NAME, index, 0, limit, True, since or None))

    def tasks_named(self, ids: Sequence[str]) -> Listed[Task]:
        """The tasks of these ids that there are, in this order, from one checkpoint: for some thousands in one call."""
        return self._named(tasks.NAME, ids)

    def beginning(self, view: str, prefix: str, limit: int) -> Listed[str]:
        """Ids of tasks or snapshots that begin with a prefix, in order; total: how many were found."""

        def read(generation: str, known: Checkpoint) -> Listed[str]:
            found = self._views.beginning(generation, view, prefix, limit)
            found = sorted({*found, *self._past.beginning(generation, view, prefix, limit)})[:limit]
            return Listed(found, known, len(found))

        listed: Listed[str] = self._read(read)
        return listed

    def past_tasks(self, before: int, limit: int, agent: str | None = None, status: str | None = None) -> Listed[str]:
        """Ids of tasks in sealed history that were dispatched before a position, the newest first, also of such as a
        restore undid; total: the position of the last of them.

        agent, status: without those that never were of this agent or target, or in this state.
        """
        return self._beginning_before(tasks.NAME, before, limit, (agent, status and f"={status}"))

    def last_task(self, agent: str | None = None) -> Found[Task]:
        """The task dispatched last, to any agent or to one."""
        found = self.tasks(agent, limit=1)
        return Found(found.rows[0] if found.rows else None, found.checkpoint)

    def open_tasks(self) -> Listed[Task]:
        """All queued and running tasks in the order of service, from one checkpoint."""
        return self.queue("open", limit=ALL)

    def queue(self, which: str = "open", agent: str | None = None, limit: int = 100) -> Listed[Task]:
        """A page of the queue in the order of service; for `completed`, of finished tasks, newest end first.

        which: one of QUEUE_PARTS. agent: as for `tasks`.
        """
        concerns = _index("agent", agent)
        if which == "completed":
            index = f"finished:{concerns}" if concerns else "finished"
            return self._list(tasks.NAME, PageQuery(tasks.NAME, index, 0, limit))
        index = concerns if concerns and which == "open" else f"{which}:{concerns}" if concerns else which
        return self._list(queue.NAME, PageQuery(queue.NAME, index, 0, limit, newest=False))

    # ---- state ----

    def state(self, key: str, now: int) -> Found[StateKey]:
        """A key that exists at `now` (server time, ms), None where it has expired."""
        found: Found[StateKey] = self._find(state.NAME, key)
        return Found(None, found.checkpoint) if found.row and found.row.expired(now) else found

    def state_list(self, prefix: str, now: int, limit: int = ALL) -> Listed[StateKey]:
        """The keys that begin with `prefix` and exist at `now`, by name. All keys: `""`."""
        query = PageQuery(state.NAME, "name", 0, limit, newest=False, prefix=prefix)
        found: Listed[StateKey] = self._list(state.NAME, query)
        return Listed([row for row in found.rows if not row.expired(now)], found.checkpoint, found.total)

    def state_expired(self, now: int, limit: int) -> Listed[StateKey]:
        """Keys that have expired at `now` and still are rows, the longest expired first."""
        return self._list(state.NAME, PageQuery(state.NAME, "expires", 0, limit, newest=False, max_score=now))

    # ---- settings ----

    def setting(self, key: str) -> Found[Setting]:
        """One setting of the namespace, None where it was never set."""
        return self._find(settings.NAME, f"setting:{key}")

    # ---- snapshots ----

    def snapshots(self, which: str = "complete", limit: int = ALL, upto: int | None = None) -> Listed[Snapshot]:
        """Snapshots by position, newest first.

        which: `complete`, `taking`, `open` or `all`; upto: only those at or before this position.
        """
        return self._list(snapshots.NAME, PageQuery(snapshots.NAME, which, 0, limit, max_score=upto))

    def snapshot(self, snapshot: str) -> Found[Snapshot]:
        """One snapshot by id."""
        return self._find(snapshots.NAME, snapshot)

    def snapshots_named(self, ids: Sequence[str]) -> Listed[Snapshot]:
        """The snapshots of these ids that there are, or were, as `tasks_named`."""
        return self._named(snapshots.NAME, ids)

    # ---- restores ----

    def restores(self, which: str = "all") -> Listed[Restore]:
        """Restores that several nodes take part in, in the order of their wishes. which: `all` or `open`."""
        return self._list(restores.NAME, PageQuery(restores.NAME, which, 0, ALL, newest=False))

    def restore(self, restore: str) -> Found[Restore]:
        """One of these restores by id."""
        return self._find(restores.NAME, restore)

    # ---- workflows ----

    def workflows(self) -> Listed[StoredWorkflow]:
        """All stored workflows that are not deleted, the one that changed last first."""
        return self._list(workflows.NAME, PageQuery(workflows.NAME, "all", 0, ALL))

    def workflow(self, workflow: str) -> Found[StoredWorkflow]:
        """One stored workflow by id, also a deleted one."""
        return self._find(workflows.NAME, workflow)

    def workflow_runs(
        self, which: str = "all", limit: int = ALL, newest: bool = True, before: int | None = None
    ) -> Listed[RunHeader]:
        """A page of the headers of runs by their start. which: an index of the view; before: a position."""
        last = None if before is None else before - 1
        query = PageQuery(workflow_runs.NAME, which, 0, limit, newest, max_score=last)
        return self._list(workflow_runs.NAME, query)

    def past_runs(self, before: int, limit: int, workflow: str | None = None, status: str | None = None) -> Listed[str]:
        """Ids of runs in sealed history, as `past_tasks`; with those of children."""
        return self._beginning_before(workflow_runs.NAME, before, limit, (workflow, status and f"={status}"))

    def workflow_runs_named(self, ids: Sequence[str]) -> Listed[RunHeader]:
        """The headers of the runs of these ids that there are, or were, as `tasks_named`."""
        return self._named(workflow_runs.NAME, ids)

    def workflow_run(self, run: str) -> Found[RunHeader]:
        """The header of one run by id."""
        return self._find(workflow_runs.NAME, run)


def _of(agent: str | None, status: str | None) -> str:
    """The index of the tasks of an agent, in a status; None for any."""
    return ":".join(part for part in (_index("status", status), _index("agent", agent)) if part) or "all"


def _index(kind: str, name: str | None) -> str:
    return "" if name is None else f"{kind}:{name}"
