"""A node of an older release is up beside this one: nothing that it does not know is written without a word."""

from __future__ import annotations

from pathlib import Path

from maestro.model.events import AlertRaised, AnyFact, NewEvent, NodeJoined, NodeLeft, WorkflowStored
from maestro.store.contract import Append
from tests.runtime.acting import Node, until

FLOW = "steps: [{id: a, run: 'true'}]"
ELDER = "node:elder"


def test_what_would_stop_an_older_node_waits_until_it_is_gone(tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text(FLOW)
    create = ("workflow", "create", "flow", "--definition", str(flow))
    with Node(tmp_path / "here") as node:
        node.agent_type("worker")
        node.up()
        store = node.store()

        def tell(fact: AnyFact) -> None:
            store.log.commit([Append((NewEvent(ELDER, fact),), "test", "test")], None)

        def facts() -> list[AnyFact]:
            return [event.fact for event in store.log.read(0, 1000)]

        try:
            store.work.lease_take(ELDER, "elder", 10_000)
            tell(NodeJoined("elder", "oldhost", "i", 1, 4, "1.2.0"))
            until(lambda: any(row["build"] == "1.2.0" for row in node.json("node", "list")))
            store.work.lease_take(ELDER, "elder", 10_000)
            refused = node.run(*create)
            assert refused.returncode == 4
            assert "oldhost: node elder runs Maestro 1.2.0, which does not know what this would write" in refused.stderr
            assert node.dispatch("run: true", "--to", "worker", "--sync")["status"] == "completed"
            assert not any(isinstance(fact, (AlertRaised, WorkflowStored)) for fact in facts())
            tell(NodeLeft("elder", "updated"))
            until(lambda: node.run(*create).returncode == 0)
            assert any(isinstance(fact, WorkflowStored) for fact in facts())
        finally:
            store.close()
