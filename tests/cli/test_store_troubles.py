"""A store at a set URL that cannot be used: each trouble is one true line with exit code 5, and nothing comes later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.store.redis.resp import dial
from tests.cli.conftest import CommandLine
from tests.cli.faces import Behaviour, Face, agreeable, dripping, flooding, hasty, http, mail, nesting, silent
from tests.installation import Installation
from tests.store.serving import BINARIES, Servers
from tools.chaos.proxy import Proxy

NOT_REDIS = "does not speak Redis's protocol"
FULL = "the store is out of memory"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers(BINARIES[0]) as running:
        yield running


def told(maestro: CommandLine, url: str, *words: str) -> str:
    """The one line that a command says at this URL."""
    maestro.env["MAESTRO_REDIS_URL"] = url
    done = maestro.here(*(words or ("state", "set", "k", "v")))
    assert done.code == 5, done
    assert done.out == ""
    [line] = done.err.splitlines()
    assert "defect" not in line
    return line


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (silent, "it did not answer within"),
        (hasty, "cannot be reached: "),
        (http, NOT_REDIS),
        (mail, NOT_REDIS),
        (agreeable, NOT_REDIS),
        (nesting, NOT_REDIS),
        (dripping, "it did not answer within"),
        (flooding, "it did not answer within"),
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_who_is_no_store_is_told_so(maestro: CommandLine, scheme: str, behaviour: Behaviour, said: str) -> None:
    face = Face(behaviour)
    line = told(maestro, f"{scheme}://{face.place}")
    face.close()
    assert f"{scheme}://{face.place}: the store cannot be reached: " in line
    assert scheme == "rediss" or said in line
    assert line.endswith("start it, or correct MAESTRO_REDIS_URL")


def test_a_silent_sentinel_is_told_so(maestro: CommandLine) -> None:
    face = Face(silent)
    line = told(maestro, f"redis+sentinel://{face.place},{face.place}/primary")
    assert "the store cannot be reached: no sentinel that answers knows this service" in line
    face.close()


def test_a_port_or_host_where_nobody_is(maestro: CommandLine) -> None:
    face = Face(hasty)
    face.close()
    assert "refused" in told(maestro, f"redis://{face.place}")
    assert "the store cannot be reached: " in told(maestro, "redis://no-such-host.invalid:6379")


def test_tls_where_the_server_speaks_none(maestro: CommandLine, servers: Servers) -> None:
    url = servers.start()
    face = Face(hasty)
    port = int(face.place.rpartition(":")[2])
    face.close()
    with dial(url, 5) as wire:
        wire.call("CONFIG", "SET", "bind", "127.0.0.1")
        wire.call("CONFIG", "SET", "port", port)
    assert "the store cannot be reached: " in told(maestro, f"rediss://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("options", "login", "said"),
    [
        (["--requirepass", "right"], ":wrong@", "refuses this user: WRONGPASS"),
        (["--requirepass", "right"], "", "refuses this user: NOAUTH"),
        (["--user", "u", "on", ">p", "~*", "+@read", "+@fast", "+info", "+eval"], "u:p@", "may not do all"),
        (["--user", "u", "on", ">p", "~*", "+@connection"], "u:p@", "refuses this user: NOPERM"),
        (["--replicaof", "127.0.0.1", "1"], "", "a replica of 127.0.0.1:1"),
        (["--maxmemory", "1mb", "--appendonly", "yes"], "", FULL),
        (["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], "", "may drop parts of the log"),
    ],
)
@pytest.mark.parametrize("words", [("state", "set", "k", "v"), ("task", "dispatch", "p", "--to", "a")])
def test_a_server_that_does_not_serve_us(
    maestro: CommandLine, servers: Servers, options: list[str], login: str, said: str, words: tuple[str, ...]
) -> None:
    url = servers.start(*options).replace("unix://", f"unix://{login}")
    assert said in told(maestro, url, *words)


# ---- with a daemon that has long known its store ----


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[Installation]:
    url = servers.start("--appendonly", "yes")
    with Installation(tmp_path_factory.mktemp("troubles"), MAESTRO_REDIS_URL=url) as installation:
        installation.agent_type("a", adapter="shell")
        installation.json("task", "dispatch", "true", "--to", "a", "--sync")
        yield installation


def test_a_store_that_may_lose_what_it_has_acknowledged_is_used_and_up_says_so(here: Installation) -> None:
    assert "append-only" not in here.run("up").stderr
    with dial(here.env["MAESTRO_REDIS_URL"], 5) as wire:
        wire.call("CONFIG", "SET", "appendonly", "no")
        done = here.run("up")
        wire.call("CONFIG", "SET", "appendonly", "yes")
    assert (
        done.returncode == 0 and "the store: no append-only file: a restart of the server loses events" in done.stderr
    )


COMMANDS = [
    ("state", "set", "k", "late"),
    ("task", "dispatch", "echo late", "--to", "a"),
    ("agent", "stop", "a"),
]


@pytest.mark.parametrize("words", COMMANDS)
def test_what_a_full_store_refused_is_told_at_once_and_never_takes_effect(
    here: Installation, words: tuple[str, ...]
) -> None:
    before = _head(here)
    with dial(here.env["MAESTRO_REDIS_URL"], 5) as wire:
        wire.call("CONFIG", "SET", "maxmemory", "1mb")
        try:
            done = here.run(*words)
        finally:
            wire.call("CONFIG", "SET", "maxmemory", "0")
    assert done.returncode == 5, done
    [line] = done.stderr.splitlines()
    assert FULL in line
    assert "not confirmed" not in line
    here.json("state", "set", "mark", os.urandom(4).hex())
    assert not [row for row in _since(here, before) if row["type"] not in ("state.set", "health.changed")]
    assert not [row for row in _since(here, before) if "late" in json.dumps(row)]


@pytest.mark.parametrize("words", COMMANDS)
def test_what_a_replica_refused_never_takes_effect(here: Installation, words: tuple[str, ...]) -> None:
    before = _head(here)
    with dial(here.env["MAESTRO_REDIS_URL"], 5) as wire:
        wire.call("REPLICAOF", "127.0.0.1", "1")
        try:
            done = here.run(*words)
        finally:
            wire.call("REPLICAOF", "NO", "ONE")
    assert done.returncode == 5, done
    [line] = done.stderr.splitlines()
    assert "replica" in line
    here.json("state", "set", "mark", os.urandom(4).hex())
    assert not [row for row in _since(here, before) if "late" in json.dumps(row) or row["type"] == "agent.stopped"]


def _head(here: Installation) -> int:
    return int(here.json("events", "tail")[-1]["seq"])


def _since(here: Installation, before: int) -> list[Any]:
    return [row for row in here.json("events", "tail") if row["seq"] > before]


def test_a_dispatch_that_was_not_confirmed_names_the_key_that_repeats_it(tmp_path: Path, servers: Servers) -> None:
    """Its replies are lost: it is in the log, and nobody has said so. The repeat is the same task."""
    target = Path(servers.start("--appendonly", "yes").removeprefix("unix://"))
    proxy = Proxy(servers.folder / f"p{os.urandom(2).hex()}", target)
    with Installation(tmp_path / "i", MAESTRO_REDIS_URL=proxy.url) as here:
        here.agent_type("a", adapter="shell")
        here.json("task", "dispatch", "true", "--to", "a", "--sync")
        proxy.lose_replies(True, to=b"task.dispatched")
        try:
            done = here.run("task", "dispatch", "echo twice", "--to", "a")
        finally:
            proxy.lose_replies(False)
        assert done.returncode == 5, done
        [line] = done.stderr.splitlines()
        assert "not confirmed" in line and "--key once-" in line, line
        key = line.partition("--key ")[2].partition(",")[0]
        first = here.json("task", "dispatch", "echo twice", "--to", "a", "--key", key)
        again = here.json("task", "dispatch", "echo twice", "--to", "a", "--key", key)
        assert first["id"] == again["id"] == key.removeprefix("once-")
        dispatched = [row for row in here.json("events", "tail") if row["type"] == "task.dispatched"]
        assert [row["data"]["task"] for row in dispatched].count(first["id"]) == 1
        assert len(dispatched) == 2
        proxy.lose_replies(True, to=b"only-once")
        try:
            stated = here.run("state", "set", "k", "only-once")
        finally:
            proxy.lose_replies(False)
        assert (stated.returncode, stated.stderr.count("\n")) == (5, 1), stated
        assert "not confirmed" in stated.stderr and "repeat it, which is safe" in stated.stderr
    proxy.close()
