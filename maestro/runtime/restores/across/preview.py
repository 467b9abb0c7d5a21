"""The dry run of a restore over several nodes: each node looks at what lies on it, and the answers become one."""

from __future__ import annotations

import msgspec
import trio

from maestro.model.errors import MaestroError
from maestro.runtime.node.context import Call
from maestro.runtime.node.forwards.forwarding import ask
from maestro.runtime.protocol import messages as p
from maestro.runtime.restores.plan import Placement, RestorePlan
from maestro.runtime.server.rows import Row


class Elsewhere:
    """What a plan puts back on other nodes, which these look at; the plan is left with what lies here."""

    def __init__(self, call: Call, planned: RestorePlan) -> None:
        here = call.context.node
        self._call = call
        self._by_node: dict[str, list[Placement]] = {}
        for each, _ in planned.restorable:
            if each.node not in ("", here):
                self._by_node.setdefault(each.node, []).append(each)
        theirs = [each for placements in self._by_node.values() for each in placements]
        planned.placements = [each for each in planned.placements if each not in theirs]
        self._told: dict[str, Row] = {}

    async def look(self, command: p.RestorePreview, source: str | None) -> None:
        """Have all of the nodes look, at once. source: the id of the snapshot, as it is named here."""
        part = msgspec.structs.replace(command, source=source, part=True)
        async with trio.open_nursery() as nursery:
            for node in self._by_node:
                nursery.start_soon(self._ask, node, part)

    async def _ask(self, node: str, part: p.RestorePreview) -> None:
        try:
            answer = await ask(self._call, node, part, quiet=True)
        except MaestroError as error:
            self._told[node] = {"failed": error.line()}
            return
        self._told[node] = {"failed": answer.failed.what} if answer.failed is not None else answer.data

    def added_to(self, row: Row) -> Row:
        """The answer of this node with those of the others."""
        agents = {each["agent"]: each for each in row["agents"]}
        damaged, failing = list(row["damaged"]), list(row["failing"])
        needed, free = row["disk_needed_bytes"], [row["disk_free_bytes"]]
        disks = list(row["disks"])
        for node, placements in self._by_node.items():
            told = self._told.get(node, {"failed": "it has not answered"})
            known = {each["agent"]: each for each in told.get("agents", [])}
            for each in placements:
                why = f"node {node}: {told.get('failed', 'it does not know of it')}"
                seen = known.get(each.agent, {"agent": each.agent, "workspace": each.workspace, "why_not": why})
                agents[each.agent] = agents.get(each.agent, {}) | seen | {"node": node}
                if each.agent not in known:
                    failing.append({"agent": each.agent, "workspace": each.workspace, "why": why})
            failing += [each | {"node": node} for each in told.get("failing", [])]
            disks += told.get("disks", [])
            damaged += told.get("damaged", [])
            needed += told.get("disk_needed_bytes", 0)
            free.append(told.get("disk_free_bytes"))
        more = {"agents": list(agents.values()), "damaged": damaged, "failing": failing, "disk_needed_bytes": needed}
        more |= {"disks": disks, "disk_free_bytes": min((each for each in free if each is not None), default=None)}
        return row | more
