"""What a server is checked for, against real servers with those faults, and the rights that a store needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from maestro.model.errors import StoreUnsafe
from maestro.store.redis.resp import ErrorReply, Wire, dial
from maestro.store.redis.safety import COMMANDS, Check, Kind, acl_rule, checks, gather, refuse_unsafe
from tests.store.serving import BINARIES, Servers

Serve = Callable[..., str]

SAFE = {
    "server": "redis",
    "version": "7.0.15",
    "mode": "standalone",
    "role": "primary",
    "aof": "on",
    "fsync": "always",
    "eviction": "noeviction",
    "maxmemory": "0",
    "replicas": "0",
}


@pytest.fixture(params=BINARIES, ids=lambda path: path.name)
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """serve(*options) -> the URL of a server that runs with these options."""
    with Servers(request.param) as servers:
        yield servers.start


def look(url: str, kind: Kind = "set", namespace: str | None = None) -> dict[str, Check]:
    with dial(url, 5) as wire:
        return {check.name: check for check in checks(gather(wire.call, namespace), kind)}


def problems(found: dict[str, Check]) -> dict[str, str]:
    return {check.name: check.level for check in found.values() if not check.ok}


def test_a_safe_server_passes_and_says_what_it_promises(serve: Serve) -> None:
    found = look(serve("--appendonly", "yes", "--appendfsync", "always"), namespace="default")
    assert problems(found) == {}
    assert found["appendfsync"].detail.startswith("always: each append is on disk")
    assert found["version"].detail.split()[0] in ("valkey", "redis")
    assert found["access"].ok


@pytest.mark.parametrize("at", ["CONFIG", "EVAL"])
def test_a_server_that_ends_while_it_is_looked_at_is_away_and_not_unsafe(serve: Serve, at: str) -> None:
    with dial(serve(), 5) as wire:

        def call(*words: str | int) -> object:
            if words[0] == at:
                raise ConnectionResetError("the server closed the connection")
            return wire.call(*words)

        with pytest.raises(ConnectionResetError):
            gather(call, "default")


def test_a_missing_aof_is_a_warning_at_a_set_url_and_a_refusal_elsewhere(serve: Serve) -> None:
    url = serve()
    assert problems(look(url, "set")) == {"aof": "warn"}
    assert problems(look(url, "server")) == {"aof": "refuse"}
    assert problems(look(url, "embedded")) == {"aof": "refuse"}


def test_eviction_is_refused_with_the_command_that_mends_it(serve: Serve) -> None:
    found = look(serve("--appendonly", "yes", "--maxmemory-policy", "volatile-lru"))
    assert problems(found) == {"eviction": "refuse"}
    assert found["eviction"].remedy == "CONFIG SET maxmemory-policy noeviction"


def test_a_replica_is_refused_naming_its_primary(serve: Serve) -> None:
    found = look(serve("--appendonly", "yes", "--replicaof", "127.0.0.1", "1"))
    assert problems(found) == {"role": "refuse"}
    assert "127.0.0.1:1" in found["role"].remedy


def test_the_ways_to_sync_are_told_apart(serve: Serve) -> None:
    assert "second" in look(serve("--appendonly", "yes", "--appendfsync", "everysec"))["appendfsync"].detail
    assert problems(look(serve("--appendonly", "yes", "--appendfsync", "no"))) == {"appendfsync": "warn"}


def test_memory_that_runs_out_is_a_warning(serve: Serve) -> None:
    found = look(serve("--appendonly", "yes", "--maxmemory", "1mb"))
    assert problems(found) == {"memory": "warn"}


def test_a_server_that_hides_its_configuration_is_still_checked(serve: Serve) -> None:
    url = serve("--appendonly", "yes")
    with dial(url, 5) as wire:
        wire.call("ACL", "SETUSER", "guest", "on", ">pw", "~*", "+@all", "-config")
    found = look(url.replace("unix://", "unix://guest:pw@"))
    assert problems(found) == {}
    assert "does not tell" in found["appendfsync"].detail


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"version": "6.2.14"}, {"version": "refuse"}),
        ({"server": "valkey", "version": "10.0"}, {}),
        ({"role": "replica"}, {"role": "refuse"}),
        ({"loading": "1", "aof": "off"}, {"loaded": "refuse"}),
        ({"aof_write": "err"}, {"aof": "refuse"}),
        ({"mode": "cluster", "cluster_state": "ok"}, {}),
        ({"mode": "cluster", "cluster_state": "fail"}, {"cluster": "refuse"}),
        ({"replicas": "2"}, {}),
        ({"access": "XADD is not allowed"}, {"access": "refuse"}),
    ],
)
def test_facts_that_a_test_cannot_produce_are_judged_the_same(facts: dict[str, str], problem: dict[str, str]) -> None:
    assert problems({check.name: check for check in checks(SAFE | facts)}) == problem


def test_facts_that_are_not_told_are_no_crash() -> None:
    assert problems({check.name: check for check in checks({})})["role"] == "refuse"
    assert checks({"server": "memory"}) == []


def test_each_problem_has_a_remedy_and_each_detail_is_one_line() -> None:
    for facts in ({"version": "6.0"}, {"role": "replica"}, {"loading": "1"}, {"eviction": "allkeys-lru"}):
        for check in checks(SAFE | facts):
            assert check.ok or check.remedy
            assert "\n" not in check.detail


def test_a_refusal_is_an_error_and_warnings_are_returned() -> None:
    with pytest.raises(StoreUnsafe, match=r"redis://x: .*allkeys-lru.*CONFIG SET"):
        refuse_unsafe(checks(SAFE | {"eviction": "allkeys-lru"}), "redis://x")
    assert [check.name for check in refuse_unsafe(checks(SAFE | {"aof": "off"}))] == ["aof"]


def test_the_least_rights_suffice_for_the_checks_and_reach_no_other_key(serve: Serve) -> None:
    url = serve("--appendonly", "yes")
    with dial(url, 5) as wire:
        wire.call(*acl_rule("maestro", "mine", "pw"))
    guest = url.replace("unix://", "unix://maestro:pw@")
    assert problems(look(guest, namespace="mine")) == {}
    found = look(guest, namespace="other")
    assert problems(found) == {"access": "refuse"}
    with dial(guest, 5) as wire:
        assert wire.call("SET", "maestro:{mine}:x", "1") == b"OK"
        for words in (
            ["SET", "x", "1"],
            ["FLUSHALL"],
            ["KEYS", "*"],
            ["CONFIG", "SET", "appendonly", "no"],
            ["ACL", "LIST"],
        ):
            assert refused(wire, *words)


def test_a_missing_right_is_named(serve: Serve) -> None:
    url = serve("--appendonly", "yes")
    with dial(url, 5) as wire:
        wire.call(*acl_rule("maestro", "mine", "pw"), "-xreadgroup")
    found = look(url.replace("unix://", "unix://maestro:pw@"), namespace="mine")
    assert "XREADGROUP" in found["access"].detail


def test_a_wrong_password_is_told(serve: Serve) -> None:
    url = serve("--requirepass", "right")
    with pytest.raises(ErrorReply, match="WRONGPASS"):
        dial(url.replace("unix://", "unix://:wrong@"), 5)
    assert "version" in look(url.replace("unix://", "unix://:right@"))


def test_no_command_of_the_rule_is_named_twice() -> None:
    assert len(COMMANDS) == len(set(COMMANDS))


def refused(wire: Wire, *words: str) -> bool:
    try:
        wire.call(*words)
    except ErrorReply as said:
        return said.code == "NOPERM"
    return False
