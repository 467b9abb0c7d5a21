"""Agents that fall ill in earnest: each change is one event with its evidence, and what is told about it helps."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import psutil
import pytest
import redis

from maestro.model.events import AgentHealthChanged
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until
from tests.runtime.small_disk import on_small_disk
from tests.store.embedded.test_server_disk_full import DISKS_MIB


def changes(node: Node, agent: str) -> list[AgentHealthChanged]:
    facts = [event.fact for event in node.events("agent.health_changed")]
    return [fact for fact in facts if isinstance(fact, AgentHealthChanged) and fact.agent == agent]


def failed(node: Node, agent: str) -> dict[str, str]:
    """The checks that fail now, with what is told to do about each."""
    report = node.run("agent", "health", agent, "--format", "json")
    found = json.loads(report.stdout)
    assert report.returncode == (0 if found["status"] == "healthy" else 1)
    return {check["name"]: check["mend"] for check in found["checks"] if not check["ok"]}


def test_a_process_that_stands_still_its_program_and_their_mending_are_an_event_each(place: Node) -> None:
    own, guard = place.folder / "own", place.folder / "guard"
    stopped = place.dispatch(f"run: echo $$ > {own}; kill -STOP $$", "--to", "w1")
    guarded = place.dispatch(f"run: echo $$ > {guard}; sleep 600", "--to", "w2")
    until(lambda: guard.exists() and own.exists() and own.read_text() and guard.read_text())
    warden = psutil.Process(int(guard.read_text())).ppid()
    os.kill(warden, signal.SIGSTOP)
    until(lambda: changes(place, "w1") and changes(place, "w2"))

    refused = place.run("task", "dispatch", "run: true", "--to", "w1")
    assert refused.returncode == 4 and "is stopped for" in refused.stderr
    assert "maestro agent health w1 says what to do about it" in refused.stderr
    text = place.run("agent", "health", "w1").stdout
    pid = int(own.read_text())
    assert re.search(rf"^failed: process: process {pid} \(sh\) .* is stopped for \d+ s \(limit 3 s\)$", text, re.M)
    assert f"\n  to mend it: kill -CONT {pid} lets it go on, maestro task cancel {stopped['id']} ends the run\n" in text
    assert f"the guard of the run, process {warden} " in place.run("agent", "health", "w2").stdout
    forced = place.dispatch("run: echo forced", "--to", "w1", "--force")
    kilo = place.kilo.rename(place.kilo.with_name("kilo.away"))
    assert failed(place, "w1").keys() == {"process", "binary"}
    kilo.rename(place.kilo)
    assert failed(place, "w1").keys() == {"process"}

    os.kill(warden, signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)
    assert place.run("task", "wait", str(stopped["id"]), str(forced["id"])).returncode == 0
    until(lambda: not failed(place, "w1") and not failed(place, "w2"))
    one, two, three, four = changes(place, "w1")
    assert [each.failed for each in (one, two, three, four)] == [("process",), ("process", "binary"), ("process",), ()]
    (check,) = one.checks
    assert (check.unit, check.limit, check.ok) == ("s", 3.0, False) and check.value is not None and check.value >= 3
    assert (one.task, one.by_run, four.by_run) == (stopped["id"], True, False)
    assert [each.healthy for each in changes(place, "w2")] == [False, True]
    place.json("task", "cancel", str(guarded["id"]))


def test_a_program_that_is_gone_is_put_back_or_another_one_is_bound(place: Node) -> None:
    kilo = place.kilo.rename(place.kilo.with_name("kilo.moved"))
    done = place.run("task", "dispatch", "run: true", "--to", "w3")
    assert done.returncode == 4 and "is not an executable file" in done.stderr
    assert failed(place, "w3")["binary"] == ("put it back, or bind another one: maestro agent assign worker --name w3")
    place.json("agent", "assign", "worker", "--name", "w3", MAESTRO_KILOCODE_BIN=str(kilo))
    place.dispatch("run: true", "--to", "w3", "--sync")
    kilo.rename(place.kilo)
    assert place.json("agent", "assign", "worker", "--name", "w3")["healthy"]


def test_what_is_only_notable_refuses_nothing(place: Node) -> None:
    for _ in range(3):
        place.dispatch("run: exit 7", "--to", "w3", "--sync", code=7)
    done = place.run("agent", "health", "w3", "--log-lines", "0")
    assert done.returncode == 0
    assert "\nnote: failures: its last 3 runs failed: exit, exit, exit (limit 3 runs)\n" in done.stdout
    assert "\n  to mend it: maestro agent logs w3 shows why\n" in done.stdout
    assert place.run("agent", "logs", "w3").returncode == 0
    busy = place.dispatch("run: sleep 600", "--to", "w3")
    waiting = place.dispatch("run: true", "--to", "w3")
    until(lambda: place.task(str(busy["id"]))["status"] == "running")
    told = place.run("agent", "health", "w3").stdout
    assert re.search(rf"^ok: queue: task {waiting['id']} is ready since \d+ s: agent w3 is busy with", told, re.M), told
    place.json("task", "cancel", str(busy["id"]))
    place.json("task", "wait", str(waiting["id"]))
    assert "ok: failures: its last run ended well" in place.run("agent", "health", "w3").stdout


def test_the_heartbeat_is_read_by_any_client(place: Node, server: StoreServer) -> None:
    client = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)
    key = f"maestro:{{{place.namespace}}}:agent:w1:last_heartbeat"
    heard = until(lambda: client.hgetall(key))
    seconds, _ = client.time()  # type: ignore[misc]
    assert abs(int(seconds) - int(heard["at"]) / 1000) < 60 and heard["node"] == place.id
    assert 0 < client.pttl(key) <= 120_000  # type: ignore[operator]
    seen = client.hgetall(f"maestro:{{{place.namespace}}}:node:{place.id}:seen")
    assert int(seen["disk_free_bytes"]) <= int(seen["disk_total_bytes"])  # type: ignore[index]
    assert (seen["store"], "disk_low" in seen) == ("", True)  # type: ignore[index]


def test_a_node_asks_its_store_for_little_while_nothing_happens(place: Node, server: StoreServer) -> None:
    client = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)
    place.dispatch("run: true", "--to", "w1", "--sync")

    def calls() -> int:
        found = client.info("commandstats")
        return sum(each["calls"] for name, each in found.items() if name not in ("cmdstat_info", "cmdstat_config|get"))

    def asked() -> int:
        before = calls()
        time.sleep(2.0)
        return calls() - before

    # It was 100: the views were looked at four times a second, whether or not there was an event.
    until(lambda: asked() < 60)


def test_a_store_that_becomes_unsafe_takes_agents_out_of_service_until_it_is_safe(
    place: Node, server: StoreServer
) -> None:
    client = redis.Redis(unix_socket_path=str(server.socket), decode_responses=True)
    before = len(changes(place, "w2"))
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        until(lambda: len(changes(place, "w2")) > before)
        assert failed(place, "w2") == {"store": "CONFIG SET maxmemory-policy noeviction"}
        done = place.run("task", "dispatch", "run: true", "--to", "w2")
        assert done.returncode == 4 and "maxmemory-policy allkeys-lru may drop parts of the log" in done.stderr
        assert "allkeys-lru" in client.hget(f"maestro:{{{place.namespace}}}:node:{place.id}:seen", "store")  # type: ignore[operator]
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    until(lambda: not failed(place, "w2"))
    ill, well = changes(place, "w2")[before:]
    assert (ill.failed, ill.by_run, well.healthy) == (("store",), False, True)
    place.dispatch("run: true", "--to", "w2", "--sync")


FULL = """
import json, os, sys
from pathlib import Path
from tests.runtime.acting import Node, until

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
told = {}
with Node(elsewhere / "node") as node:
    node.agent_type("worker")
    node.json("agent", "assign", "worker", "--name", "w", "--to-workspace", str(disk / "w"))
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    node.dispatch(f"run: head -c {free - (60 << 20)} /dev/zero > big", "--to", "w", "--sync")
    done = node.run("task", "dispatch", "run: true", "--to", "w")
    told["refused"] = done.returncode, "60 MiB free below" in done.stderr or "59 MiB free below" in done.stderr
    told["forced"] = node.dispatch("run: true", "--to", "w", "--sync", "--force")["status"]
    os.truncate(disk / "w" / "big", (free - (80 << 20)))
    told["still"] = node.run("agent", "health", "w").returncode
    os.truncate(disk / "w" / "big", 0)
    told["room"] = node.run("agent", "health", "w").returncode
    told["then"] = node.dispatch("run: true", "--to", "w", "--sync")["status"]
    told["events"] = [list(event.fact.failed) for event in node.events("agent.health_changed")]
print(json.dumps(told))
"""


@pytest.mark.parametrize("disk_mib", DISKS_MIB)
def test_who_fills_the_disk_is_ill_until_there_is_room_again_and_not_at_its_limit_only(disk_mib: int) -> None:
    assert on_small_disk(FULL, disk_mib) == {
        "refused": [4, True],
        "forced": "completed",
        "still": 1,
        "room": 0,
        "then": "completed",
        "events": [["disk"], []],
    }
