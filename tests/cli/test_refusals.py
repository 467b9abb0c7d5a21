"""What is refused leaves nothing half done; and what a caller's own settings mean to a daemon that runs already."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import CommandLine
from tests.installation import Installation


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with two shell agents, `one` at work and `two` idle, and a daemon."""
    with Installation(tmp_path_factory.mktemp("refusals")) as installation:
        for name in ("one", "two"):
            installation.agent_type(name, adapter="shell")
            installation.json("agent", "assign", name, "--to-workspace", str(installation.folder / f"{name}-ws"))
        installation.json("task", "dispatch", "sleep 600", "--to", "one")
        while installation.json("agent", "list")[0]["state"] != "active":
            pass
        yield installation


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["one", "--name", "a b"], 2),
        (["one", "--role", "a\nb"], 2),
        (["one", "--name", "two"], 4),
        (["one", "--name", "two", "--force"], 4),
        (["one"], 4),
        (["two", "--node", "nowhere"], 3),
    ],
)
def test_a_refused_assignment_makes_no_folder_and_stops_no_run(
    here: Installation, maestro: CommandLine, options: list[str], code: int
) -> None:
    maestro.env = here.env
    wanted = here.folder / "wanted"
    done = maestro.here("agent", "assign", *options, "--to-workspace", str(wanted / "deep"))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert not wanted.exists()
    assert [row["state"] for row in here.json("agent", "list")] == ["active", "idle"]


def test_no_type_is_registered_below_a_root_that_is_refused(here: Installation) -> None:
    here.agent_type("three", adapter="shell")
    (here.folder / "link").symlink_to(here.root)
    here.json("agent", "assign", "two", "--to-workspace", str(here.root / "three"))
    for command in (["task", "dispatch", "true", "--to", "three"], ["agent", "assign", "three"]):
        assert "is a symlink" in here.run(*command, MAESTRO_WORKSPACE_ROOT=str(here.folder / "link")).stderr
        done = here.run(*command)
        assert (done.returncode, done.stderr.count("\n")) == (4, 1)
        assert "agent two works there" in done.stderr
    assert [row["id"] for row in here.json("agent", "list")] == ["one", "two"]


def test_force_stops_a_run_only_where_its_agent_moves(here: Installation, maestro: CommandLine) -> None:
    maestro.env = here.env
    assert maestro.here("agent", "assign", "one", "--priority", "2", "--force").code == 0
    task = here.json("task", "list", "--last")
    assert (task["status"], here.json("agent", "list", "--status", "active")[0]["priority"]) == ("running", 2)
    moved = json.loads(
        maestro.here("agent", "assign", "one", "--force", "--to-workspace", str(here.folder / "other")).out
    )
    assert (moved["state"], moved["workspace"], moved["priority"]) == ("idle", str(here.folder / "other"), 2)
    assert here.json("task", "status", task["id"])["status"] == "cancelled"


def test_who_sets_other_limits_than_the_daemon_is_told(here: Installation) -> None:
    assert here.run("agent", "list").stderr == ""
    told = here.run("agent", "list", MAESTRO_MAX_CONCURRENT="9", MAESTRO_AGENT_TIMEOUT="5").stderr.splitlines()
    assert [line.split()[1] for line in told] == ["MAESTRO_MAX_CONCURRENT", "MAESTRO_AGENT_TIMEOUT"]
    config = here.folder / "config" / "maestro"
    config.mkdir(parents=True)
    (config / "config.toml").write_text("max_concurrent = 7\n")
    assert "is 7 here" in here.run("agent", "list", XDG_CONFIG_HOME=str(config.parent)).stderr


def test_a_filter_for_an_agent_that_is_not_there_is_an_error(here: Installation, maestro: CommandLine) -> None:
    maestro.env = here.env
    for args in (["task", "list"], ["queue", "status"], ["queue", "status", "--completed"]):
        assert maestro.here(*args, "--agent", "nobody").code == 3
        assert maestro.here(*args, "--agent", "role:nobody").code == 0


def test_the_queue_shows_who_gets_the_next_turn(here: Installation) -> None:
    for name, priority in (("one", "4"), ("two", "1")):
        here.json("agent", "assign", name, "--priority", priority)
    busy = [here.json("task", "dispatch", "sleep 600", "--to", name)["id"] for name in ("one", "two")]
    here.json("task", "dispatch", "for one", "--to", "one")
    here.json("task", "dispatch", "for two", "--to", "two")
    here.json("task", "dispatch", "urgent", "--to", "one", "--priority", "2")
    while len(here.json("queue", "status", "--processing")) < 2:
        pass
    queue = here.json("queue", "status")
    assert {row["task"] for row in queue[:2]} == set(busy)
    assert [(row["title"], row["priority"]) for row in queue[2:]] == [("for two", 1), ("urgent", 2), ("for one", 4)]


def test_views_are_shown_as_they_were_with_times_that_people_read(here: Installation) -> None:
    before, *_ = here.json("replay", "at", "2", "agents")
    assert (before["row"], before["state"], before["assigned_at"][-1]) == ("agent:one", "idle", "Z")
    changes = here.json("replay", "diff", "3", "5")
    assert [(change["view"], change["row"], change["change"]) for change in changes] == [
        ("agents", "agent:two", "added"),
        ("agents", "type:two", "added"),
        ("homes", "two", "added"),
    ]
    assert changes[0]["after"]["assigned_at"].startswith("20")


def test_a_flush_keeps_its_export_in_a_folder_that_it_makes(here: Installation) -> None:
    here.json("shutdown", "--grace-period", "0")
    done = here.json("redis", "flush", "--confirm", here.env["MAESTRO_NAMESPACE"])
    assert done["backup"].startswith(str(here.home / "exports"))
    with open(done["backup"]) as backup:
        assert len(backup.readlines()) == done["events"] > 10
