"""Many agents placed by one command: the folders of all are looked at once, and again where somebody claims a place."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from maestro import config
from maestro.model.agent import Assignment
from maestro.model.errors import Refused
from maestro.runtime.node.context import Call, Context
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.assignment import assignment_events
from maestro.runtime.provision.place_guard import PlaceGuard
from maestro.store.contract import Append, Committed
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from maestro.workspaces.ground import Ground
from tests.counting import RATIO_MAX


class Node:
    """A node with a store in memory, and one command under way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        env = {"MAESTRO_HOME": str(folder / "home"), "MAESTRO_WORKSPACE_ROOT": str(folder / "root")}
        settings = config.load(env, folder)
        self._store = MemoryStore("placed")
        context = Context(settings, "n", self._store, Gateway(self._store))
        self.call = Call(context, p.Caller("test", str(folder), env), self._send)

    async def _send(self, frame: p.ServerFrame) -> None:
        raise AssertionError(frame)

    async def assign(self, guard: PlaceGuard, agent: str, workspace: str | None = None) -> None:
        """Check a place, and assign an agent there."""
        place = await guard.check(agent, workspace)
        node = None if workspace is None else "n"
        wanted = Assignment(agent, "shell", {}, str(self.folder / "root"), workspace, "", 3, node)
        events = tuple(await assignment_events(self.call, wanted, place))
        (done,) = self._store.log.commit([Append(events, "test", f"cmd:{agent}")], None)
        assert isinstance(done, Committed)
        guard.assigned(wanted, done.last)


def test_placing_twice_as_many_agents_looks_at_twice_as_many_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folders of all agents were looked at anew for each."""
    looked: list[str] = []
    look = Ground.status
    monkeypatch.setattr(Ground, "status", lambda ground, path: [looked.append(path), look(ground, path)][1])

    def looks(agents: int) -> int:
        node = Node(tmp_path / str(agents))

        async def place() -> None:
            guard = PlaceGuard(node.call)
            for number in range(agents):
                await node.assign(guard, f"a{number}", str(node.folder / f"w{number}"))

        looked.clear()
        trio.run(place)
        return len(looked)

    assert looks(40) < RATIO_MAX * looks(20)


def test_a_place_that_was_claimed_meanwhile_counts_whoever_claimed_it(tmp_path: Path) -> None:
    node = Node(tmp_path)

    async def place() -> None:
        ours = PlaceGuard(node.call)
        await node.assign(ours, "ann", str(tmp_path / "w/ann"))
        await node.assign(ours, "bare")
        with pytest.raises(Refused, match="contains the workspace of agent ann"):
            await ours.check("ben", str(tmp_path / "w"))
        with pytest.raises(Refused, match="folder of the runs of agent bare"):
            await ours.check("ben", str(tmp_path / "root/bare/x"))
        await node.assign(PlaceGuard(node.call), "eve", str(tmp_path / "e/eve"))
        with pytest.raises(Refused, match="contains the workspace of agent eve"):
            await ours.check("ben", str(tmp_path / "e"))
        await node.assign(ours, "ben", str(tmp_path / "ben"))

    trio.run(place)
