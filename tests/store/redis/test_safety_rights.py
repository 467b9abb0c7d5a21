"""The whole store works for a user that has the documented rights and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.model.errors import StoreUnsafe
from maestro.model.events import NewEvent, StateSet
from maestro.store.contract import Append, Checkpoint, Committed, Fence, Hint, PageQuery, RowChange
from maestro.store.redis import safety
from maestro.store.redis.redis_store import RedisStore, open_redis
from maestro.store.redis.resp import dial
from maestro.store.redis.safety import COMMANDS, acl_rule, checks
from tests.store.serving import BINARIES, Servers


@pytest.fixture(params=BINARIES, ids=lambda path: path.name)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a user with the rights of the namespace `mine` gets in."""
    binary: Path = request.param
    with Servers(binary) as servers:
        admin = servers.start("--appendonly", "yes")
        with dial(admin, 5) as wire:
            wire.call(*acl_rule("maestro", "mine", "pw"))
        yield admin.replace("unix://", "unix://maestro:pw@")


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    opened = open_redis(url, "mine")
    yield opened
    opened.close()


def test_the_log_needs_no_more_rights(store: RedisStore) -> None:
    assert store.work.lease_take("scheduler", "me", 60_000)
    events = (NewEvent("state:key", StateSet("key", "value"), 0),)
    append = Append(events, "me", "cmd:1", hints=(Hint("", "task-1", 0), Hint("node", "task-2", 0)))
    result = store.log.commit([append], None)[0]
    assert isinstance(result, Committed)
    again = store.log.commit([Append(events, "me", "cmd:1", fence=Fence("scheduler", "me"), resend=True)], None)[0]
    assert isinstance(again, Committed) and again.duplicate
    assert store.log.head().seq == store.log.version("state:key") == 1
    assert len(store.log.read(0, 10)) == len(store.log.entries(0, 10)) == len(store.log.follow(0, 10, 10)) == 1
    assert store.log.event(1) is not None
    assert store.log.follow(1, 10, 10) == []
    assert len(list(store.log.scan(0, 1))) == 1
    store.log.cursor_set("group", 1)
    assert store.log.cursor_get("group") == 1


def test_trimming_and_filling_the_log_need_no_more_rights(store: RedisStore) -> None:
    store.log.commit(
        [Append((NewEvent("state:key", StateSet("key", str(n))),), "me", f"cmd:{n}") for n in (1, 2)], None
    )
    entries = store.log.entries(0, 10)
    store.log.trim(2)
    assert store.log.first() == 2
    store.erase()
    assert store.log.load([entries]).seq == 2


def test_work_leases_and_samples_need_no_more_rights(store: RedisStore) -> None:
    store.work.put([Hint("", "task-1", token=1), Hint("node", "task-2", token=2)])
    claimed = store.work.claim("node", 10, 10)
    assert len(claimed) == 2
    assert len(store.work.pending("")) == 1
    store.work.done(claimed)
    assert store.work.claim("node", 10, 10) == []
    assert store.work.lease_take("node:a", "me", 60_000)
    assert store.work.lease_holder("node:a") == "me"
    store.work.lease_drop("node:a", "me")
    store.work.samples_put({"agent:a:last_heartbeat": {"cpu": "1"}}, 60_000)
    sample = store.work.samples(["agent:a:last_heartbeat"])[0]
    assert sample is not None and sample["cpu"] == "1"


def test_views_and_blobs_need_no_more_rights(store: RedisStore) -> None:
    store.log.commit([Append((NewEvent("state:key", StateSet("key", "value"), 0),), "me", "cmd:1")], None)
    head = store.log.head()
    after = Checkpoint(head.seq, head.chain, head.at, head.floor)
    change = RowChange("tasks", "t1", b"{}", add={"all": 1, "open": 2})
    assert store.views.save("1.1", Checkpoint(), after, [change])
    assert store.views.switch(None, "1.1") and store.views.current() == "1.1"
    assert store.views.checkpoint("1.1").seq == 1
    assert store.views.load("1.1", [("tasks", "t1")])[1] == [b"{}"]
    assert store.views.page("1.1", PageQuery("tasks", "all", min_score=0)).total == 1
    assert store.views.dump("1.1", "tasks") == [("t1", b"{}")]
    assert store.views.indexes("1.1", "tasks")["all"] == {"t1": 1}
    assert store.views.save("1.1", after, after, [RowChange("tasks", "t1", None, remove=("all", "open"))])
    assert store.views.switch("1.1", "2.1")
    store.views.drop("1.1")
    name = store.blobs.put(b"x" * 100_000)
    assert store.blobs.get(name) == b"x" * 100_000
    assert store.blobs.collect(frozenset(), -1_000) == 1


def test_describing_measuring_and_erasing_need_no_more_rights(store: RedisStore) -> None:
    assert [check.name for check in checks(store.describe()) if not check.ok] == []
    assert store.now() > 0 and store.memory_bytes() > 0
    store.blobs.put(b"x")
    assert store.erase() > 0


def test_each_command_of_a_script_is_among_the_rights() -> None:
    scripts = list(Path(safety.__file__).parent.glob("*.lua"))
    named = {word for path in scripts for word in re.findall(r"""call\(['"]([A-Z]+)""", path.read_text())}
    assert "XADD" in named
    assert not {word for word in named if word.lower() not in COMMANDS}


def test_another_namespace_is_out_of_reach(url: str) -> None:
    with pytest.raises(StoreUnsafe):
        open_redis(url, "other").log.head()
