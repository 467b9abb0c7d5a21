"""The server's stores and the one in memory answer alike, whatever is appended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from maestro.model.events import NewEvent, StateSet
from maestro.store.contract import Append, Committed, Fence, Hint, Store
from maestro.store.memory.memory_store import MemoryStore
from maestro.store.redis.redis_store import open_redis

VERSIONS = st.none() | st.integers(0, 8)
EVENTS = st.builds(
    lambda key, value, expected: NewEvent(f"state:{key}", StateSet(key, value), expected),
    st.sampled_from("abc"),
    st.sampled_from(["1", "2", "é\0"]),
    VERSIONS,
)
APPENDS = st.builds(
    lambda events, cause, hinted, fenced, floors, resend, follows: Append(
        tuple(events),
        "tester",
        cause,
        hints=(Hint("n", f"run {cause}", len(events) - 1),) if hinted else (),
        fence=Fence("lease", fenced) if fenced else None,
        floors=floors,
        resend=resend >= 0,
        since=max(0, resend),
        follows=tuple(f"follower {number}" for number in range(follows)),
    ),
    st.lists(EVENTS, max_size=3),
    st.sampled_from(["c1", "c2"]),
    st.booleans(),
    st.sampled_from(["", "", "", "me", "other"]),
    st.sampled_from([False] * 9 + [True]),
    st.sampled_from([-1, -1, -1, 0, 3]),
    st.sampled_from([0, 0, 0, 1, 2]),
)
GROUPS = st.lists(st.tuples(st.lists(APPENDS, min_size=1, max_size=4), st.booleans()), max_size=8)


def told(store: Store, groups: list[tuple[list[Append], bool]]) -> Any:
    """Everything that can be seen of a store, without its times."""
    store.work.lease_take("lease", "me", 60_000)
    results: list[Any] = []
    late = store.log.head()
    for group, knows in groups:
        for result in store.log.commit(group, store.log.known() if knows else late):
            timeless = (result.first, result.last, result.duplicate) if isinstance(result, Committed) else result
            results.append(timeless)
    entries = [(e.seq, e.type, e.subject, e.actor, e.cause, e.prev, e.v, e.data) for e in store.log.entries(0, 1000)]
    head = store.log.head()
    versions = [store.log.version(f"state:{key}") for key in "abcd"]
    return results, entries, (head.seq, head.floor), versions, store.work.pending("n")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=GROUPS)
def test_all_stores_answer_alike(
    groups: list[tuple[list[Append], bool]], shared_server: Callable[[str], Any], server_kind: str
) -> None:
    memory = MemoryStore("reference")
    server = open_redis(shared_server(server_kind).url, f"agree-{uuid4().hex[:8]}")
    try:
        assert told(server, groups) == told(memory, groups)
    finally:
        server.erase()
        server.close()
