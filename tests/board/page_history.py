"""A history for the board's page: agents, tasks that ran, a wait, and a queue that is long. Nothing of it runs."""

from __future__ import annotations

from maestro import config
from maestro.model import events as e
from maestro.model.ids import run_id
from maestro.runtime.daemon.store_access import open_store
from maestro.store.contract import Append, Committed, Store
from tests.board.boards import RunningBoard
from tests.installation import Installation

AGENTS = 1_000
FINISHED = 20
QUEUED = 10_000
CHUNK = 1_000
ACTOR = "cli:ann"
NODE = "north"
ROOT = "/srv/runs"


class Place:
    """An installation with a long history and a board over it, in which no daemon runs."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.settings = config.load(installation.env)
        self.store: Store = open_store(self.settings)
        write(self.store)
        self.board = RunningBoard(installation).enter()


def write(store: Store) -> None:
    """Append it."""
    definition = {"slug": "coder", "mode": "script", "adapter": "shell", "bin": "/bin/sh", "argv": ["{bin}"]}
    _append(store, "node", [e.NewEvent(f"node:{NODE}", e.NodeJoined(NODE, "host", "1", 1, 4, "1.3.0"))])
    assigned = [e.AgentAssigned(agent(n), "coder", definition, ROOT, role="review") for n in range(AGENTS)]
    _append(store, "agents", [e.NewEvent(f"agent:{fact.agent}", fact, 0) for fact in assigned])
    for number in range(FINISHED):
        _append(store, f"done {number}", finished(number))
    state = e.StateSet("plan", "first the API, then the page")
    _append(store, "state", [e.NewEvent("state:plan", state)])
    queued = [e.TaskDispatched(task(n), prompt(n), prompt(n), (agent(n),)) for n in range(FINISHED, FINISHED + QUEUED)]
    for at in range(0, QUEUED, CHUNK):
        chunk = [e.NewEvent(f"task:{fact.task}", fact, 0) for fact in queued[at : at + CHUNK]]
        _append(store, f"queued {at}", chunk)


def finished(number: int) -> list[e.NewEvent]:
    """The events of a task that ended well, but for every fifth."""
    run, who, good = run_id(task(number), 0, 1), agent(number), number % 5 != 0
    how, outcome, code = ("completed", "ok", 0) if good else ("failed", "exit", 3)
    released = e.RunReleased(run, task(number), 0, 1, who, NODE, 1800, 0, reason="its agent and a place were free")
    started = e.RunStarted(run, task(number), who, NODE, f"{ROOT}/{number}", f"{ROOT}/work")
    ended = e.RunEnded(run, task(number), who, outcome, code, result="no issues found", duration_ms=1234)
    return [
        e.NewEvent(f"task:{task(number)}", e.TaskDispatched(task(number), prompt(number), prompt(number), (who,)), 0),
        e.NewEvent(f"run:{run}", released, 0),
        e.NewEvent(f"run:{run}", started),
        e.NewEvent(f"run:{run}", ended),
        e.NewEvent(f"task:{task(number)}", e.TaskFinished(task(number), how, outcome, code)),
    ]


def set_state(store: Store, key: str, value: str) -> int:
    """Set a key; the position of its event."""
    _append(store, f"set {key} {value}", [e.NewEvent(f"state:{key}", e.StateSet(key, value))])
    return store.log.head().seq


def agent(number: int) -> str:
    """The id of an agent, taking turns."""
    return f"coder-{number % AGENTS:04d}"


def task(number: int) -> str:
    """The id of a task."""
    return f"01M8QBNYMMEX2QQ1DB{number:08d}"


def prompt(number: int) -> str:
    """What a task is to do."""
    return f"Review change {number}: security and style"


def _append(store: Store, key: str, events: list[e.NewEvent]) -> None:
    (done,) = store.log.commit([Append(tuple(events), ACTOR, f"page:{key}")], None)
    assert isinstance(done, Committed), done
