"""What commands write lies in no workspace, in no archive, and in no home: neither a file, nor a fork, nor an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from maestro import config
from maestro.model import events as e
from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node.context import Call, Context
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.settlement import check_file
from maestro.store.contract import Append, Committed
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore

FILE = "x.tar.gz"


class Place:
    """A node whose archive, segments, agent and neighbour each have a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("shared/ns/n", "segments/ns", "work", "other", "free"):
            (folder / name).mkdir(parents=True)
        self._env = {
            "MAESTRO_HOME": str(folder / "home"),
            "MAESTRO_WORKSPACE_ROOT": str(folder / "root"),
            "MAESTRO_NAMESPACE": "ns",
            "MAESTRO_ARCHIVE_URL": (folder / "shared").as_uri(),
            "MAESTRO_SEGMENTS_DIR": str(folder / "segments"),
        }
        self._store = MemoryStore("ns")
        joined = [
            e.NodeJoined(name, "host", "i", 1, 4, "", str(folder / at)) for name, at in (("n", "home"), ("m", "other"))
        ]
        assigned = e.AgentAssigned("ann", "shell", {}, str(folder / "root"), str(folder / "work"), node="n")
        events = [NewEvent(f"node:{fact.node}", fact) for fact in joined] + [NewEvent("agent:ann", assigned)]
        (done,) = self._store.log.commit([Append(tuple(events), "test", "cmd:test")], None)
        assert isinstance(done, Committed)

    def ask(self, command: p.AnyCommand | str) -> Any:
        """Have a command carried out; or check the path of a file."""

        async def send(_: object) -> None:
            return

        async def go() -> Any:
            async with Gateway(self._store) as gateway:
                context = Context(config.load(self._env, self.folder), "n", self._store, gateway)
                context.handlers = HANDLERS
                if isinstance(command, str):
                    return await check_file(context, command, "--output")
                return await HANDLERS[type(command)](
                    Call(context, p.Caller("t", str(self.folder), self._env), send), command
                )

        return trio.run(go)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


PLACES = {
    "work": "the workspace of agent ann",
    "home": "MAESTRO_HOME",
    "other": "MAESTRO_HOME of node m",
    "shared/ns/n": "the shared archive",
    "segments/ns": "the sealed segments of the log",
}


@pytest.mark.parametrize("name", PLACES)
def test_a_file_that_is_to_be_written_lies_in_none_of_them(place: Place, name: str) -> None:
    with pytest.raises(Refused, match=f"would lie in {PLACES[name]} ") as caught:
        place.ask(str(place.folder / name / FILE))
    assert caught.value.where == "--output" and caught.value.mend == "name a file elsewhere"
    for fine in (place.folder / "free", place.folder / "shared", place.folder / "home/exports"):
        place.ask(str(fine / FILE))


def test_every_command_that_writes_somewhere_asks(place: Place) -> None:
    """`state snapshot --output` was accepted there; so were schedules of it, exports, forks, and workspaces."""
    inside = place.folder / "shared/ns/n"
    snapshot = {"kind": "state snapshot", "output": str(inside / FILE)}
    for command in (
        p.StateSnapshot(output=str(inside / FILE)),
        p.ScheduleAdd("x", "0 0 * * *", ["state", "snapshot"], snapshot, "UTC", "once"),
        p.RedisFlush("ns", str(inside / FILE)),
        p.Fork("trial", str(inside / "trial"), None),
        p.AgentAssign("shell", name="ben", to_workspace=str(inside)),
        p.AgentAssign("shell", name="ben", to_workspace=str(place.folder / "shared")),
    ):
        with pytest.raises(Refused, match="the shared archive"):
            place.ask(command)
