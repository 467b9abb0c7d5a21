"""A home for each agent, limits in types, docker as far as it can be had: through the command line."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.runtime.provision import containment
from maestro.runtime.supervision import cgroup_root
from maestro.workspaces import usage
from maestro.workspaces.archive.export.export_reader import open_export
from tests.installation import Installation

DOCKER = r"""#!/bin/sh
# Stands in for docker: notes how it was called, and runs what `run` would start in the container.
echo "$*" >> "$(dirname "$0")/calls"
case "$1" in
  info) echo 27.0.1 ;;
  run) shift; while [ "$1" != --entrypoint ]; do shift; done; program="$2"; shift 3; exec "$program" "$@" ;;
esac
"""


@pytest.fixture(scope="module")
def maestro(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("homes")
    (folder / ".x").mkdir()
    (folder / ".x" / "auth.json").write_text("the login")
    docker = folder / "bin" / "docker"
    with Installation(folder) as maestro:
        maestro.env["PATH"] = f"{docker.parent}:{maestro.env['PATH']}"
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        maestro.agent_type("own", adapter="shell", home="agent", credentials=["~/.x/auth.json", "~/.x/none"])
        maestro.json("agent", "assign", "own")
        yield maestro


def run(maestro: Installation, agent: str, script: str, *words: str) -> tuple[dict[str, Any], str]:
    """The run, and its log."""
    maestro.run("task", "dispatch", script, "--to", agent, "--sync", *words)
    found = maestro.json("task", "status", "--last")["runs"][-1]
    return found, Path(found["log"]).read_text()


def test_an_agent_with_a_home_of_its_own_finds_a_copy_of_its_login_there(maestro: Installation) -> None:
    _, said = run(maestro, "own", 'echo "$HOME"; cat ~/.x/auth.json; ls -A ~ ~/.x; env | grep XDG_; touch ~/kept')
    home = maestro.home / "agents" / "own" / "home"
    assert said.splitlines()[:1] == [str(home)] and "the login" in said and "XDG_" not in said and "none" not in said
    assert (home / "kept").exists() and not (maestro.folder / "kept").exists()
    assert (home / ".x" / "auth.json").stat().st_mode & 0o777 == 0o400 and home.stat().st_mode & 0o777 == 0o700


def test_a_login_that_was_renewed_outside_is_copied_again_and_a_link_in_its_place_is_not_followed(
    maestro: Installation,
) -> None:
    victim = maestro.folder / "victim"
    victim.write_text("untouched")
    run(maestro, "own", f"rm -f ~/.x/auth.json; ln -s {victim} ~/.x/auth.json")
    (maestro.folder / ".x" / "auth.json").write_text("renewed")
    _, said = run(maestro, "own", "cat ~/.x/auth.json")
    assert said == "renewed" and victim.read_text() == "untouched"


def test_limits_of_a_type_hold_in_its_runs(maestro: Installation) -> None:
    maestro.agent_type("small", adapter="shell", resource_limits={"memory": "64M", "pids": 30})
    done = maestro.run("agent", "assign", "small")
    if missing := {"memory", "pids"} - cgroup_root.enforceable():
        warnings.warn(f"no control groups for {missing} here: checked that the type is refused", stacklevel=1)
        assert done.returncode != 0 and "cannot be enforced here" in done.stderr
        return
    found, _ = run(maestro, "small", "exec dd if=/dev/zero of=/dev/null bs=500M count=1")
    assert found["outcome"] == "oom", found


def test_a_run_that_fills_the_disk_beyond_its_limit_is_ended(maestro: Installation) -> None:
    maestro.agent_type("tidy", adapter="shell", resource_limits={"disk": "8M"})
    maestro.json("agent", "assign", "tidy")
    found, _ = run(maestro, "tidy", "head -c 30000000 /dev/zero > big; sleep 60")
    assert found["outcome"] == "budget" and "its limit of disk is 8 MiB" in found["evidence"]


def test_what_is_used_counts_hard_links_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1_000_000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("/usr")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e").write_bytes(b"x" * 500_000)
    assert 1_500_000 <= usage.disk_bytes((str(tmp_path), str(tmp_path / "none"))) < 1_600_000


def test_docker_without_an_engine_is_known_not_to_work() -> None:
    tool = containment.docker()
    if not tool.fault:
        warnings.warn(f"a docker engine answers here ({tool.version}): nothing to refuse", stacklevel=1)
        return
    assert tool.mend and ("docker is not installed" in tool.fault or "no docker engine answers" in tool.fault)


def test_a_docker_run_is_composed_started_judged_and_removed(maestro: Installation) -> None:
    """A stand-in for docker runs the agent outside of any container: what is tested is all that Maestro does."""
    maestro.run("down")
    maestro.agent_type("boxed", adapter="shell", isolate_with="docker", image="debian:12", resources={"memory": "1G"})
    maestro.json("agent", "assign", "boxed")
    found, said = run(maestro, "boxed", "echo in $PWD; exit 7")
    assert (found["outcome"], found["exit_code"]) == ("exit", 7) and said == "in /\n"
    calls = (maestro.folder / "bin" / "calls").read_text()
    assert "network create --internal" in calls and "--memory 1073741824" in calls and "debian:12" in calls
    assert "rm --force --volumes maestro-" in calls and f"-{found['id']}\n" in calls


def test_a_container_is_paused_while_a_snapshot_reads_its_workspace(maestro: Installation) -> None:
    maestro.agent_type("held", adapter="shell", isolate_with="docker", image="debian:12", shared_cache="/var/cache")
    maestro.json("agent", "assign", "held", "--to-workspace", str(maestro.folder / "held"))
    task = maestro.json("task", "dispatch", "sleep 60", "--to", "held")["id"]
    while maestro.json("task", "status", task)["status"] != "running":
        time.sleep(0.05)
    taken = maestro.json("state", "snapshot", "--output", str(maestro.folder / "held.tar.gz"))
    run = f"-{task}-0.1"
    calls = (maestro.folder / "bin" / "calls").read_text().splitlines()
    names = [call.split()[0] for call in calls if call.endswith(run) and call.split()[0] in ("pause", "unpause")]
    assert (taken["agents"], names) == (["held"], ["pause", "unpause"])
    with open_export(maestro.folder / "held.tar.gz") as export:
        containers = export.head.meta["containers"]
    assert isinstance(containers, list)
    (held,) = (one for one in containers if one["agent"] == "held")
    assert (held["image"], held["shared_cache"]) == ("debian:12", "/var/cache")
    maestro.json("task", "cancel", task)


def test_a_docker_type_without_an_image_is_refused(maestro: Installation) -> None:
    maestro.agent_type("nameless", adapter="shell", isolate_with="docker")
    assert "needs an image" in maestro.run("agent", "register", "nameless").stderr


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_a_type_whose_containment_cannot_be_had_here_is_shown_with_the_reason_it_is_refused_for(
    tmp_path: Path, check: tuple[str, ...]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sh").symlink_to("/bin/sh")
    place = Installation(tmp_path / "place", PATH=str(bare))  # no bwrap, no docker
    for tool in ("bubblewrap", "docker"):
        place.agent_type(tool, adapter="shell", isolate_with=tool, image="debian:12")
    place.agent_type("free", adapter="shell")
    rows = {row["slug"]: row for row in place.json("agent", "types", *check)}
    assert rows["free"]["usable"] and rows["free"]["reason"] is None
    for tool, name in (("bubblewrap", "bwrap"), ("docker", "docker")):
        assert (rows[tool]["valid"], rows[tool]["usable"]) == (True, False)
        assert f"isolate_with: {tool} is not possible here: {name} is not installed" in rows[tool]["reason"]
        refused = place.run("agent", "register", tool)
        assert refused.returncode == 4
        assert rows[tool]["reason"] in refused.stderr
    assert place.run("shutdown").returncode == 0


def test_the_doctor_tells_what_can_contain_an_agent_here(maestro: Installation) -> None:
    rows = {row["check"]: row for row in json.loads(maestro.run("doctor").stdout)}
    assert "control groups hold" in rows["limits"]["detail"]
    assert {"isolation bubblewrap", "isolation docker", "isolation none"} <= set(rows)
    assert all(not row["remedy"] for name, row in rows.items() if name == "isolation none")


def test_processes_that_were_refused_are_told_of_in_the_evidence(maestro: Installation) -> None:
    maestro.agent_type("few", adapter="shell", resource_limits={"pids": 5})
    if "pids" not in cgroup_root.enforceable():
        warnings.warn("no control group for pids here: checked that the type is refused", stacklevel=1)
        assert maestro.run("agent", "assign", "few").returncode != 0
        return
    maestro.json("agent", "assign", "few")
    found, _ = run(maestro, "few", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; exit 3")
    assert "processes at its limit of them" in found["evidence"]
