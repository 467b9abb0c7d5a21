"""Trials of nodes of which some run another commit of Maestro, as in an update node by node: the last release, say.

All of them work for one queue, and any of them may lead. Each is asked by a command line of its own release.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from maestro.model.errors import MaestroError
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p
from tools.chaos.installation import Installation
from tools.chaos.invariants import breaches, effects
from tools.chaos.nodes.faults import FAULTS, Strike
from tools.chaos.nodes.fleet import FREE, NODES, REPLICA, STORE, WATCHER, Fleet, FleetWork
from tools.chaos.nodes.hosts import Hosts
from tools.chaos.nodes.trial import LONG_S, SHORT_S, fault_of
from tools.chaos.trial import Trial, sockets
from tools.chaos.work import POLL_S, STRIKE_S_MAX
from tools.place import Place

TOP = Path(__file__).parents[3]
ASKED_S_MAX = 60.0


@contextmanager
def installed(commit: str) -> Iterator[str]:
    """A commit of this repository with an environment of its own; the interpreter there. A folder has both already."""
    if Path(commit, ".venv").is_dir():
        yield str(Path(commit).absolute() / ".venv/bin/python")
        return
    with tempfile.TemporaryDirectory(prefix="previous-") as made:
        folder = Path(made) / "maestro"
        _run(TOP, "git", "worktree", "add", "--quiet", "--detach", str(folder), commit)
        try:
            _run(folder, "sh", "-euc", ". tools/environment.sh; prepare run")
            yield str(folder / ".venv/bin/python")
        finally:
            _run(TOP, "git", "worktree", "remove", "--force", str(folder))


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


class MixedWork(FleetWork):
    """The work of nodes of which some run another commit."""

    def assign(self) -> None:
        """Assign an agent on each node."""
        for number, node in enumerate(self.fleet.nodes.values()):
            node.home.define("worker")
            node.home.define(FREE)
            workspace = str(self.fleet.place.path / f"workspace-{number}")
            node.home.run("agent", "assign", "worker", "--name", f"a{number}", "--to-workspace", workspace)
        self.fleet.home.run("agent", "register", FREE)

    def ask(self, command: p.Command) -> Any:
        """Send a command to one of the nodes: to those of the other commit by a command line. Raises MaestroError."""
        nodes = [name for name, node in self.fleet.nodes.items() if node.answers]
        nodes = [name for name in nodes if name not in self.struck] or nodes
        if not nodes:
            time.sleep(POLL_S)
            raise MaestroError("no node can be asked")
        name = self.rng.choice(nodes)
        node = self.fleet.nodes[name]
        if self.fleet.hosts[name].python:
            return _told(node, _words(command))
        answer = client.execute(command, node.home.settings, lambda _: None, here=False)
        if isinstance(answer, p.Failed):
            raise MaestroError(answer.what, answer.where, answer.mend)
        return answer.data


def _words(command: p.Command) -> Sequence[str]:
    match command:
        case p.TaskDispatch():
            words = ["task", "dispatch", str(command.prompt), "--to", ",".join(command.to), "--retries"]
            words += [str(command.retries), *(["--force"] if command.force else [])]
            words += ["--key", command.key] if command.key else []
            words += ["--priority", str(command.priority)] if command.priority else []
            return words + [word for task in command.depends_on for word in ("--depends-on", task)]
        case p.StateSet():
            return ["state", "set", command.key, str(command.value), "--ttl", "0"]
        case p.TaskStatus():
            return ["task", "status", str(command.id)]
        case _:
            raise AssertionError(f"no command line for {command}")


def _told(node: Installation, words: Sequence[str]) -> Any:
    done = node.home.run(*words, check=False, timeout_s=ASKED_S_MAX)
    if done.returncode not in (0, 3) or not done.stdout.strip():
        raise MaestroError(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}")
    return msgspec.json.decode(done.stdout)


def run(seed: int, keep: Path | None = None, fault: str = "", *, python: str) -> Trial:
    """Run one trial. keep: a folder for the logs of a failed one. python: that of the other commit."""
    trial = Trial(seed, fault or fault_of(seed), breaches=[])
    start = time.monotonic()
    with Place("mixed") as place, Hosts(*NODES, STORE, REPLICA, WATCHER) as hosts:
        try:
            _try(trial, place, hosts, python)
        except Exception:  # noqa: BLE001  a trial that breaks off is a breach too, with all that is known of it
            trial.breaches.append(traceback.format_exc())
        if trial.breaches and keep is not None:
            folder = keep / f"mixed-{seed}"
            shutil.copytree(place.path, folder, ignore_dangling_symlinks=True, dirs_exist_ok=True, ignore=sockets)
            trial.kept = str(folder)
    trial.seconds = time.monotonic() - start
    return trial


def _try(trial: Trial, place: Place, hosts: Hosts, python: str) -> None:
    rng = Random(trial.seed)
    seconds = SHORT_S if rng.random() < 0.5 else LONG_S
    others = rng.sample(NODES, rng.choice([1, 2]))
    trial.fault += f" ({', '.join(sorted(others))} of the other commit)"
    for name in others:
        hosts[name].python = python
    with FAULTS[trial.fault.partition(" (")[0]](place, hosts, rng) as (fleet, strike):
        work = MixedWork(fleet, Random(rng.random()))
        with fleet.supervised():
            work.assign()
            striker = threading.Thread(target=_strike, args=(trial, work, strike, rng, seconds), name="striker")
            striker.start()
            work.dispatch()
            striker.join()
            work.settle()
            events = fleet.events()
            trial.breaches += [*fleet.breaches, *breaches(work, events), *effects(work, events), *proven(fleet)]
        trial.breaches += [f"left over: {process}" for process in fleet.left_over()]


def _strike(trial: Trial, work: MixedWork, strike: Strike, rng: Random, seconds: float) -> None:
    time.sleep(rng.uniform(0, STRIKE_S_MAX))
    try:
        strike(work, rng, seconds)
    except Exception:  # noqa: BLE001  told with the trial, not lost with the thread
        trial.breaches.append(traceback.format_exc())
    finally:
        work.fleet.hosts.heal()


def proven(fleet: Fleet) -> Iterator[str]:
    """What each node's own verification of the log and of its release's views finds amiss."""
    fleet.until_up()
    for name, node in fleet.nodes.items():
        done = node.home.run("replay", "verify", check=False)
        if done.returncode:
            yield f"replay verify on {name}: {done.returncode}: {done.stdout} {done.stderr}"
