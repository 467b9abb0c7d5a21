"""Three nodes on hosts of their own, with one store and its replica on two more, and their work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil

from maestro.model.errors import MaestroError
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p
from tools.chaos.installation import Installation, appear, left_over
from tools.chaos.nodes.hosts import Host, Hosts, clock_apart
from tools.chaos.nodes.works import undone
from tools.chaos.work import AGENTS, POLL_S, SCRIPT, SETTLE_S_MAX, Work
from tools.place import Place, Server, end

NODES = ("n0", "n1", "n2")
STORE, REPLICA, WATCHER = "store", "replica", "watcher"
PORT = 6379
STRUCK_ASKED = 0.03
"""How often a node is asked that cannot reach the store."""
FREE, GUARDED = "free", "guarded"
REPLICATED = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "5", "--protected-mode", "no")


class Fleet:
    """The nodes, the hosts that they are on, and the store.

    nodes: by the name of their host. store: the server that is the primary now. own: the processes of the trial's own
    servers. lost_tail, lost: as of an `Installation`.
    """

    def __init__(self, place: Place, hosts: Hosts, store: Server, *others: Server) -> None:
        self.place = place
        self.hosts = hosts
        self.store = store
        self.nodes: dict[str, Installation] = {}
        self.own = [one.process for one in (store, *others) if one.process is not None]
        self.lost_tail = False
        self.in_tail: set[str] = set()
        self.undone: set[str] = set()
        self.breaches: list[str] = []

    def add(self, name: str, url: str, hours: float = 0.0) -> Installation:
        """A node on the host of this name. url: the store as it sees it. hours: how far its clock is apart."""
        within = self.hosts[name].within
        node = Installation(self.place, url, name=name, within=within, variables=clock_apart(hours))
        node.url = self.store.url
        if python := self.hosts[name].python:
            node.python, node.home.maestro = python, str(Path(python).with_name("maestro"))
        self.nodes[name] = node
        return node

    @property
    def lost(self) -> set[str]:
        """What a failover lost, or restores have undone."""
        return self.in_tail | self.undone

    @property
    def at(self) -> Host:
        """The host of the store's primary."""
        return self.hosts[STORE if self.store.folder.name == "primary" else REPLICA]

    @property
    def first(self) -> Installation:
        """A node that can be asked."""
        return next((node for node in self.nodes.values() if node.answers), self.nodes[NODES[0]])

    @property
    def home(self) -> Any:
        """The home of a node that can be asked."""
        return self.first.home

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Keep all daemons running within the block."""
        blocks = [node.supervised() for node in self.nodes.values()]
        with ThreadPoolExecutor(len(blocks)) as pool:
            for block in blocks:
                block.__enter__()
            try:
                self.until_up()
                yield
            finally:
                self.hosts.heal()
                for node in self.nodes.values():
                    node.away.clear()
                list(pool.map(lambda block: block.__exit__(None, None, None), blocks))

    def until_up(self) -> None:
        """Wait until every node's daemon can be asked."""
        for node in self.nodes.values():
            appear(f"daemon on {node.name}", lambda node=node: node if node.answers else None)  # type: ignore[misc]

    def leader(self) -> str:
        """The host of the daemon that leads, as the store has it; the first one where nobody does."""
        store = self.first.open_store()
        try:
            holder = store.work.lease_holder("scheduler") or ""
        finally:
            store.close()
        for name, node in self.nodes.items():
            with suppress(OSError):
                if holder.partition(":")[0] in (node.home.path / "node.json").read_text() and holder:
                    return name
        return NODES[0]

    def ids(self) -> dict[str, Installation]:
        """The nodes by their ids."""
        read = ((node.home.path / "node.json", node) for node in self.nodes.values())
        return {str(msgspec.json.decode(file.read_bytes())["node"]): node for file, node in read}

    def kill(self, name: str) -> None:
        """End all processes of a node at once, as the power cord would; it stays away until `away` is cleared."""
        node = self.nodes[name]
        node.away.set()
        mark = f"MAESTRO_HOME={node.home.path}".encode()
        end(process for process in self.place.processes() if _has(process, mark))
        (node.home.path / "daemon.sock").unlink(missing_ok=True)  # it would stand for the next daemon before that is up

    def events(self) -> list[Any]:
        """All events of the log."""
        return self.first.events()

    def left_over(self) -> list[psutil.Process]:
        """The processes that are still alive a while after the end, without the trial's own servers."""
        return left_over(self.place, {process.pid for process in self.own})


def _has(process: psutil.Process, mark: bytes) -> bool:
    try:
        with open(f"/proc/{process.pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


class FleetWork(Work):
    """The work of several nodes: an agent with a workspace on each, and a type that works wherever there is room.

    struck: nodes that a strike has cut off; they are asked, too, but not often, as they take long to answer.
    turn: how often work was dispatched before. workspaces: of the agents that have one; the last is in failsafe mode.
    """

    def __init__(self, fleet: Fleet, rng: Random) -> None:
        super().__init__(fleet, rng)  # type: ignore[arg-type]  # as far as the work is concerned, a fleet is one
        self.fleet = fleet
        self.struck: set[str] = set()
        self.turn = 0
        self.workspaces = {name: fleet.place.path / f"workspace-{number}" for number, name in enumerate(agents())}

    def assign(self) -> None:
        """Assign an agent on each node."""
        for number, node in enumerate(self.fleet.nodes.values()):
            node.home.define("worker")
            node.home.define(GUARDED, failsafe=True)
            node.home.define(FREE)
            name = f"a{number}"
            slug = GUARDED if name == agents()[-1] else "worker"
            node.home.run("agent", "assign", slug, "--name", name, "--to-workspace", str(self.workspaces[name]))
        self.fleet.home.run("agent", "register", FREE)

    def _task(self, key: str) -> p.TaskDispatch:
        task = super()._task(key)
        if agents()[-1] in task.to:  # three bad ends in a row would hold it
            task = msgspec.structs.replace(task, prompt=self._prompt(0.1, 0))
        return msgspec.structs.replace(task, to=[FREE]) if self.rng.random() < 0.3 else task

    def keep(self) -> None:
        """Take a snapshot of all nodes. Raises MaestroError where that does not succeed."""
        self._deadline = time.monotonic() + SETTLE_S_MAX
        self.insist(p.StateSnapshot())

    def forget_undone(self) -> None:
        """Expect no more of what restores have undone; a later one may bring it back."""
        self.fleet.undone = undone(self.fleet.events())

    def ask(self, command: p.Command) -> Any:
        """Send a command to one of the nodes. Raises MaestroError when it fails."""
        nodes = [node for name, node in self.fleet.nodes.items() if node.answers and name not in self.struck]
        if not nodes or (self.struck and self.rng.random() < STRUCK_ASKED):
            nodes = [node for node in self.fleet.nodes.values() if node.answers]
        if not nodes:
            time.sleep(POLL_S)
            raise MaestroError("no node can be asked")
        settings = self.rng.choice(nodes).home.settings
        answer = client.execute(command, settings, lambda _: None, here=False)
        if isinstance(answer, p.Failed):
            raise MaestroError(answer.what, answer.where, answer.mend)
        return answer.data


def server(place: Place, host: Host, name: str, *options: str, hours: float = 0.0) -> Server:
    """A store server on a host, which can be reached from the others; its unix socket from everywhere."""
    made = Server(place, "everysec", name, *REPLICATED, *options)
    made.argv += ["--port", str(PORT), "--bind", host.address, "127.0.0.1"]
    apart = [f"{key}={value}" for key, value in clock_apart(hours).items()]
    made.argv = [*host.within, *(["env", *apart] if apart else []), *made.argv]
    return made


def agents() -> Sequence[str]:
    """The names of the agents that have a workspace."""
    return [f"a{number}" for number in range(AGENTS)]


__all__ = ["FREE", "NODES", "SCRIPT", "Fleet", "FleetWork", "agents", "server"]
