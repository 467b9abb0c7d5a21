"""Views whose keys were lost or altered: never half an answer, but the right one, from views that are built anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
import redis

from maestro.model.errors import StoreUnsafe, ViewDamaged
from maestro.store.contract import Store
from maestro.store.keys import LAYOUT
from maestro.store.memory.memory_store import MemoryStore
from projections import projector as projecting
from projections.fold import encode
from projections.projector import Projector
from projections.view_reader import QUEUE_PARTS, Views
from replayers import checkpoint as checkpoints
from replayers.verify import verify
from tests.conftest import StoreServer
from tests.projections import histories, histories_of_nodes
from tests.projections.histories import AGENTS, KEYS, NODES, SNAPSHOTS, STATUSES, TASKS, everything, fresh, grow, stored

NOW = 1
EVENTS = 60

RUN_STATUSES = ("queued", "running", "paused", *STATUSES[:4])
_OF_ALL = ("all", "open", *(f"status:{status}" for status in RUN_STATUSES))
RUN_LISTS = (
    *_OF_ALL,
    "ended",
    *(f"{which.removeprefix('all')}:workflow:{one}".lstrip(":") for which in _OF_ALL for one in histories.WORKFLOWS),
    *(f"child-of:{run}" for run in histories.WORKFLOW_RUNS),
)
"""The indexes of `workflow_runs`."""

UNREAD = (
    *("index:state:all", "index:workflows:name", "index:workflows:scheduled", "index:totals:all"),
    "index:settings:all",
)
"""Indexes that no list is read from: what becomes of them is seen where a row of theirs changes, and by `verify`."""

RULES = tuple(f"name:{alert.partition(':')[0]}" for alert in histories.ALERTS)
OF_ALERTS = tuple(f"alert:{alert}" for alert in histories.ALERTS)

DUE = ("due:e1", "due:e2")

Raw = redis.Redis
Damage = Callable[[Raw, str], object]


def deleted(raw: Raw, key: str) -> object:
    return raw.delete(key)


def of_another_type(raw: Raw, key: str) -> object:
    raw.delete(key)
    return raw.rpush(key, "another hand")


def without_an_entry(raw: Raw, key: str) -> object:
    match raw.type(key):
        case b"hash":
            return raw.hdel(key, sorted(raw.hkeys(key))[0])
        case b"zset":
            return raw.zpopmin(key)
    return raw.delete(key)


def with_another_entry(raw: Raw, key: str) -> object:
    match raw.type(key):
        case b"hash":
            return raw.hset(key, b"\xff", b"\xff\0")
        case b"zset":
            return raw.zadd(key, {b"\xff": 7})
    return raw.append(key, b"\xff")


def with_another_value(raw: Raw, key: str) -> object:
    """As many entries as before, one of them garbage."""
    match raw.type(key):
        case b"hash":
            return raw.hset(key, sorted(raw.hkeys(key))[0], b"\xff\0")
        case b"zset":
            ((member, score),) = raw.zpopmin(key)
            return raw.zadd(key, {b"\xff" + member: score})
    return raw.set(key, b"\xff")


def with_a_flipped_bit(raw: Raw, key: str) -> object:
    """A value that still reads as one of its kind."""
    match raw.type(key):
        case b"hash":
            field = sorted(raw.hkeys(key))[-1]
            value = raw.hget(key, field)
            assert value is not None
            return raw.hset(key, field, bytes([value[0] ^ 1]) + value[1:])
        case b"zset":
            (member,) = raw.zrange(key, 0, 0)
            return raw.zadd(key, {member: 2**52})
    return raw.set(key, b"10-00000000.0.1")


DAMAGES = (
    deleted,
    of_another_type,
    without_an_entry,
    with_another_entry,
    with_another_value,
    with_a_flipped_bit,
)


def answers(store: Store) -> dict[str, Any]:
    """What all reads of the views say."""
    views = Views(store)
    lists: dict[str, Any] = {f"agents {state}": views.agents(state) for state in (None, "idle", "active", "stopped")}
    lists |= {"types": views.types(), "nodes": views.nodes(), "state": views.state_list("", NOW)}
    lists |= {"expired": views.state_expired(2**53, 100), "prefix": views.state_list("po", NOW)}
    lists |= {f"snapshots {which}": views.snapshots(which) for which in ("complete", "taking", "open", "all")}
    lists |= {f"restores {which}": views.restores(which) for which in ("open", "all")}
    for agent in (None, *AGENTS, "role:dev", ".run"):
        lists |= {f"queue {part} {agent}": views.queue(part, agent) for part in QUEUE_PARTS}
        lists |= {f"steps {status} {agent}": views.step_tasks(agent, status) for status in (None, "queued", *STATUSES)}
        lists |= {f"tasks {status} {agent}": views.tasks(agent, status) for status in (None, "queued", *STATUSES)}
    lists |= {"workflows": views.workflows()} | {f"runs {which}": views.workflow_runs(which) for which in RUN_LISTS}
    lists |= {f"alerts {which}": views.alerts(which) for which in ("open", "resolved", *RULES)}
    lists |= {f"deliveries {which}": views.deliveries(which) for which in ("open", "failed", *DUE, *OF_ALERTS)}
    lists |= {"endpoints": views.endpoints(), "schedules": views.schedules()}
    lists |= {f"firings {which}": views.firings(which) for which in ("all", "open")}
    lists |= {f"homes {which}": views.homes(which) for which in ("all", "moved")}
    rows: dict[str, Any] = {f"task {task}": views.task(task) for task in TASKS}
    rows |= {"setting": views.setting("views.keep")}
    rows |= {"totals": views.totals()} | {f"alert {alert}": views.alert(alert) for alert in histories.ALERTS}
    rows |= {f"agent {agent}": views.agent(agent) for agent in AGENTS}
    rows |= {f"homes of {agent}": views.homes_of(agent) for agent in AGENTS}
    rows |= {f"node {node}": views.node(node) for node in NODES}
    rows |= {f"snapshot {snapshot}": views.snapshot(snapshot) for snapshot in SNAPSHOTS}
    rows |= {f"restore {restore}": views.restore(restore) for restore in histories_of_nodes.RESTORES}
    rows |= {f"workflow {name}": views.workflow(name) for name in histories.WORKFLOWS}
    rows |= {f"run {run}": views.workflow_run(run) for run in histories.WORKFLOW_RUNS}
    rows |= {f"key {key}": views.state(key, NOW) for key in KEYS}
    told = {name: ([encode(row) for row in found.rows], found.total) for name, found in lists.items()}
    return told | {name: encode(found.row) for name, found in rows.items()}


def raw_of(store: Any) -> Raw:
    return redis.Redis(unix_socket_path=store.place.removeprefix("unix://"))


def keys_of(raw: Raw, store: Store) -> list[str]:
    """The keys of the views: the pointer, then those of all generations."""
    prefix = f"maestro:{{{store.namespace}}}:view"
    return sorted((key.decode() for key in raw.scan_iter(f"{prefix}*")), key=lambda key: (len(key), key))


@pytest.fixture
def lived(
    server_kind: str, shared_server: Callable[[str], StoreServer], open_at: Callable[..., Store]
) -> Iterator[tuple[Store, Raw]]:
    """A store with a history and its views, and another hand that writes to it."""
    store = open_at(shared_server(server_kind).url)
    for _ in grow(store, Random(5), EVENTS):
        pass
    Projector(store).catch_up()
    raw = raw_of(store)
    yield store, raw
    raw.close()
    store.erase()


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_becomes_of_a_key_of_the_views_what_is_read_is_right(
    lived: tuple[Store, Raw], damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "MENDS_S", 0.0)
    store, raw = lived
    right = answers(store)
    kinds = {name.rpartition(":")[2].split(".")[0] for name in keys_of(raw, store)}
    assert len(kinds) > 8, kinds
    for name in keys_of(raw, store):
        current = str(store.views.current())
        key = name if current in name or name.endswith(f":views:{LAYOUT}") else None
        if key is None or not raw.exists(key):
            # Another damage had the generation replaced: the same key of the one that lives now.
            old = name.partition(":view:")[2].partition(":")[0]
            key = name.replace(old, current)
        if not raw.exists(key):
            continue  # an index that holds nothing any more
        damage(raw, key)
        assert answers(store) == right, (damage.__name__, key)
    if damage is with_a_flipped_bit:
        Projector(store).rebuild()  # another score in an index of one row is no other answer, and so not met
    live = str(store.views.current())
    assert stored(store, live) == fresh(everything(store)).digests()
    assert verify(store).ok
    if damage is not with_a_flipped_bit:  # which let the pointer name another generation: nobody knows of the first
        left = {
            key for key in keys_of(raw, store) if f":view:{live}:" not in key and not key.endswith(f":views:{LAYOUT}")
        }
        assert all(raw.pttl(key) >= 0 for key in left), "what was replaced goes"


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_becomes_of_a_key_what_is_folded_next_is_right(
    lived: tuple[Store, Raw], damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "MENDS_S", 0.0)
    store, raw = lived
    random = Random(damage.__name__)
    for _ in range(12):
        current = str(store.views.current())
        keys = [key for key in keys_of(raw, store) if f":view:{current}:" in key or key.endswith(f":views:{LAYOUT}")]
        damage(raw, random.choice([key for key in keys if not key.endswith(UNREAD)]))
        for _ in grow(store, random, 3, restores=True):
            pass
        Projector(store).catch_up()
        answers(store)
    if damage is with_a_flipped_bit:
        Projector(store).rebuild()
    live = str(store.views.current())
    assert stored(store, live) == fresh(everything(store)).digests()


def test_a_row_that_is_gone_in_memory_is_built_anew() -> None:
    store = MemoryStore("damaged")
    for _ in grow(store, Random(5), EVENTS):
        pass
    right = answers(store)
    live = str(store.views.current())
    rows = store.views._generations[live].rows["tasks"]
    rows.pop(sorted(rows)[0])
    assert answers(store) == right
    assert store.views.current() != live


def test_the_verification_names_a_damage_that_nobody_has_met_yet(lived: tuple[Store, Raw]) -> None:
    store, raw = lived
    live = str(store.views.current())
    raw.delete(f"maestro:{{{store.namespace}}}:view:{live}:index:tasks:all")
    found = verify(store)
    assert not found.ok
    assert found.first is not None
    assert found.first.what.startswith("index:tasks:all holds 0 entries, not ")


def test_a_snapshot_of_the_log_says_what_the_log_says_though_its_views_are_damaged(
    lived: tuple[Store, Raw], tmp_path: Any
) -> None:
    store, raw = lived
    live = str(store.views.current())
    raw.delete(f"maestro:{{{store.namespace}}}:view:{live}:rows:agents")
    written = checkpoints.write(store, tmp_path / "c", store.log.head().seq)
    assert written.digests == fresh(everything(store)).digests()
    assert "builder" in (tmp_path / "c" / checkpoints.REGISTRY).read_text()


def test_views_that_are_damaged_again_and_again_are_told_of(
    lived: tuple[Store, Raw], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, raw = lived
    page = type(store.views).page

    def evicted(self: Any, generation: str, query: Any) -> Any:
        raw.delete(f"maestro:{{{store.namespace}}}:view:{generation}:rows:{query.view}")
        return page(self, generation, query)

    monkeypatch.setattr(type(store.views), "page", evicted)
    with pytest.raises(StoreUnsafe, match=r"damaged again and again.*rows:agents holds 0 entries.*maestro doctor"):
        Views(store).agents()


def test_a_damage_is_an_error_of_its_own_that_names_a_way_out() -> None:
    error = ViewDamaged("9.1", "rows:tasks holds 0 entries, not 5")
    assert error.exit_code == 6
    assert "maestro replay rebuild" in error.line()
