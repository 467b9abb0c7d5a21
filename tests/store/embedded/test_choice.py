"""The store is chosen once, recorded, and kept to. Real servers on sockets of their own stand for localhost:6379."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maestro import config
from maestro.config import Settings
from maestro.model.errors import Invalid, Refused
from maestro.store.embedded import choice, embedded_server
from maestro.store.redis.resp import dial
from tests.cli.faces import Behaviour, Face, dripping, flooding, nesting
from tests.store.serving import BINARIES, Servers, answers

Serve = Callable[..., str]


@pytest.fixture
def servers() -> Iterator[Servers]:
    with Servers(BINARIES[0]) as servers:
        yield servers


@pytest.fixture
def folder(servers: Servers) -> Path:
    return servers.folder


@pytest.fixture
def serve(servers: Servers) -> Serve:
    """serve(*options) -> the URL of a server of the user's own, running with these options."""
    return servers.start


@pytest.fixture
def settings(folder: Path) -> Settings:
    return config.load({"HOME": str(folder), "MAESTRO_HOME": str(folder / "home")})


def test_a_set_url_is_used_exactly_and_not_recorded(folder: Path) -> None:
    settings = config.load({"HOME": str(folder), "MAESTRO_REDIS_URL": "redis://elsewhere:1"})
    chosen = choice.choose(settings)
    assert (chosen.kind, chosen.url) == ("set", "redis://elsewhere:1")
    assert choice.ensure(settings, chosen) == "redis://elsewhere:1"
    assert choice.recorded(settings) is None
    assert not settings.home.exists()


def test_without_a_server_the_embedded_one_is_chosen_and_started_on_demand(settings: Settings, folder: Path) -> None:
    chosen = choice.choose(settings, f"unix://{folder}/nobody.sock")
    assert chosen.kind == "embedded" and "no answer" in chosen.why
    assert not embedded_server.answers(settings.home)
    try:
        assert answers(choice.ensure(settings, chosen))
    finally:
        embedded_server.stop(settings.home)


def test_a_safe_server_that_runs_is_chosen(settings: Settings, serve: Serve) -> None:
    url = serve("--appendonly", "yes")
    chosen = choice.choose(settings, url)
    assert (chosen.kind, chosen.url) == ("server", url)
    assert choice.ensure(settings, chosen) == url


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "no append-only file"),
        (["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"], "allkeys-lru"),
        (["--appendonly", "yes", "--replicaof", "127.0.0.1", "1"], "a replica of 127.0.0.1:1"),
        (["--appendonly", "yes", "--requirepass", "secret"], "NOAUTH"),
    ],
)
def test_an_unsafe_server_is_passed_over_and_the_reason_kept(
    settings: Settings, serve: Serve, options: list[str], why: str
) -> None:
    chosen = choice.choose(settings, serve(*options))
    assert chosen.kind == "embedded"
    assert why in chosen.why


def test_what_is_no_redis_is_passed_over(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        chosen = choice.choose(settings, f"redis://127.0.0.1:{listener.getsockname()[1]}")
    assert chosen.kind == "embedded"


@pytest.mark.parametrize("behaviour", [dripping, flooding, nesting])
def test_what_never_ends_a_reply_is_passed_over(settings: Settings, behaviour: Behaviour) -> None:
    face = Face(behaviour)
    chosen = choice.choose(settings, f"redis://{face.place}")
    face.close()
    assert chosen.kind == "embedded"
    assert "no answer" in chosen.why


def test_a_safe_server_that_still_loads_its_data_is_waited_for(settings: Settings, servers: Servers) -> None:
    options = ("--dir", str(servers.folder), "--appendonly", "yes")
    with dial(servers.start(*options), 5) as wire, pytest.raises(ConnectionError):
        wire.call("SHUTDOWN")
    (log,) = servers.folder.rglob("*.incr.aof")
    with log.open("ab") as file:
        file.writelines(b"*3\r\n$3\r\nSET\r\n$6\r\n%06d\r\n$1\r\n1\r\n" % number for number in range(300_000))
    assert choice.choose(settings, servers.start(*options, loaded=False)).kind == "server"


def test_the_choice_stands_when_things_change_later(settings: Settings, serve: Serve, folder: Path) -> None:
    nobody = f"unix://{folder}/nobody.sock"
    first = choice.choose(settings, nobody)
    assert choice.choose(settings, serve("--appendonly", "yes")) == first
    assert choice.recorded(settings) == first


def test_a_recorded_server_that_is_away_is_not_replaced(settings: Settings, serve: Serve, folder: Path) -> None:
    chosen = choice.choose(settings, serve("--appendonly", "yes"))
    assert choice.choose(settings, f"unix://{folder}/nobody.sock") == chosen


def test_data_of_an_embedded_server_is_found_again_when_the_record_is_lost(settings: Settings, serve: Serve) -> None:
    embedded_server.ensure(settings.home)
    embedded_server.stop(settings.home)
    chosen = choice.choose(settings, serve("--appendonly", "yes"))
    assert chosen.kind == "embedded" and chosen.why == "its data is there"


def test_a_moved_home_finds_its_embedded_server_by_its_new_place(settings: Settings, folder: Path) -> None:
    choice.choose(settings, f"unix://{folder}/nobody.sock")
    settings.home.rename(folder / "moved")
    moved = config.load({"HOME": str(folder), "MAESTRO_HOME": str(folder / "moved")})
    assert choice.choose(moved).url == embedded_server.url(folder / "moved")


@pytest.mark.parametrize("content", ["", "{", '{"kind":"other"}', '{"kind":"embedded","more":1}', "[]"])
def test_a_damaged_record_is_one_line_with_a_remedy(settings: Settings, content: str) -> None:
    config.open_home(settings)
    (settings.home / "store.json").write_text(content)
    with pytest.raises(Invalid) as refused:
        choice.choose(settings)
    assert refused.value.where.endswith("store.json") and refused.value.mend
    assert "\n" not in refused.value.line()


def test_a_home_that_is_a_symlink_is_refused_before_anything_is_written(settings: Settings, folder: Path) -> None:
    (folder / "real").mkdir()
    settings.home.symlink_to(folder / "real")
    with pytest.raises(Refused):
        choice.choose(settings)
    assert list((folder / "real").iterdir()) == []


def test_first_users_at_once_agree(settings: Settings, serve: Serve, folder: Path) -> None:
    """Half of them see a safe server, half see none: whoever decides first decides for all."""
    urls = [serve("--appendonly", "yes"), f"unix://{folder}/nobody.sock"]
    code = """
import sys
from maestro import config
from maestro.store.embedded import choice
print(choice.choose(config.load(), sys.argv[1]).url)
"""
    env = os.environ | {"HOME": str(folder), "MAESTRO_HOME": str(settings.home), "MAESTRO_REDIS_URL": ""}
    users = [
        subprocess.Popen([sys.executable, "-c", code, urls[number % 2]], env=env, stdout=subprocess.PIPE)
        for number in range(10)
    ]
    assert len({user.communicate(timeout=60)[0] for user in users}) == 1
    assert json.loads((settings.home / "store.json").read_text())["kind"] in ("server", "embedded")
