"""What `doctor` and `up` find of the namespace beside this node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from maestro import config
from maestro.model.events import AlertRaised, AlertResolved, AnyFact, NewEvent, NodeForgotten, NodeJoined, NodeLost
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.handlers.diagnosis import namespace, segments_reach
from maestro.runtime.monitor.node_sight import NodeSight
from maestro.runtime.node.context import Context
from replayers import sealer
from replayers.sealed import sealed_of
from tests.conftest import StoreServer


def test_who_shares_no_history_which_nodes_are_lost_and_what_is_critical(
    tmp_path: Path, server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_reach, "MARKED_MS", -1)
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"d-{os.urandom(4).hex()}", "HOME": str(tmp_path)}
    shared = {"MAESTRO_SEGMENTS_DIR": str(tmp_path / "shared")}

    async def look() -> None:
        async with (
            open_context(config.load(env | {"MAESTRO_HOME": str(tmp_path / "a")})) as here,
            open_context(config.load(env | shared | {"MAESTRO_HOME": str(tmp_path / "b")})) as there,
        ):
            assert await namespace.findings(here) == []
            await _apart(here, there)
            await _lost_and_critical(here)

    trio.run(look)


async def _tell(context: Context, subject: str, *facts: AnyFact) -> None:
    for fact in facts:
        await context.append([NewEvent(subject, fact)], "test", "test")


async def _apart(here: Context, there: Context) -> None:
    """`there` was given a folder, `here` has its own; until all reach one, each of them says who does not."""
    for each in (here, there):
        await _tell(each, f"node:{each.node}", NodeJoined(each.node, "host", f"i-{each.node}", 1, 4, "1.3.0"))
    found = await segments_reach.apart(here)
    assert found is not None and not found.meant, "nobody was given one"
    sight = NodeSight(there)
    await there.call(there.store.work.samples_put, {f"node:{there.node}:seen": sight.value}, 60_000)
    found = await segments_reach.apart(here)
    assert found is not None and found.meant
    assert found.why.startswith(f"MAESTRO_SEGMENTS_DIR is not set here, and node {there.node} has ")
    found = await segments_reach.apart(there)
    assert found is not None and found.meant and f"node {here.node} has not reached" in found.why
    (row,) = await namespace.findings(there)
    assert row[:3] == ("segments of nodes", "warning", found.why)
    for each in (here, there):
        sealed = sealed_of(each.store)
        assert sealed is not None
        for node in (here.node, there.node):
            sealer.note_reach(sealed, node, f"i-{node}")
        assert await segments_reach.apart(each) is None


async def _lost_and_critical(here: Context) -> None:
    await _tell(here, "node:n-3", NodeJoined("n-3", "far", "i-3", 1, 4, "1.3.0"), NodeLost("n-3", "its lease ran out"))
    alert = AlertRaised("node_silent:n-3", "node_silent", "n-3", "critical", "node n-3 is silent")
    await _tell(here, "alert:node_silent:n-3", alert)
    rows = await namespace.findings(here)
    assert [row[0] for row in rows] == ["segments of nodes", "node n-3", "alerts"]
    assert rows[1][2] == "it is lost, on host far: its lease ran out" and "maestro node forget n-3" in rows[1][3]
    assert rows[2][2] == "1 critical: node_silent:n-3: node n-3 is silent"
    await _tell(here, "node:n-3", NodeForgotten("n-3"))
    await _tell(here, "alert:node_silent:n-3", AlertResolved("node_silent:n-3", "gone", "it was given up"))
    assert await namespace.findings(here) == []
