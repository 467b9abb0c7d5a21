"""What a daemon brings to its runs from its start, and finds out about the runs of the one before."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.runtime.acting import Node, ended, until


def test_a_run_whose_agent_got_another_root_meanwhile_is_found_where_it_was_started(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        go = tmp_path / "go"
        prompt = f"until test -e {go}; do sleep 0.05; done; echo all is well"
        task = str(node.dispatch(prompt, "--to", "shell")["id"])
        until(lambda: node.task(task)["status"] == "running")
        node.json("agent", "assign", "shell", "--priority", "2", MAESTRO_WORKSPACE_ROOT=str(tmp_path / "other"))
        pid = node.pid
        os.kill(pid, signal.SIGSTOP)  # it is not told how the run ends: only the record says it
        go.touch()
        until((node.root / "shell" / task / "attempts" / "1" / "exit.json").exists)
        os.kill(pid, signal.SIGKILL)
        until(lambda: ended(pid))
        node.up()
        (run,) = until(lambda: node.task(task)["status"] == "completed" and node.task(task)["runs"])
        assert (run["outcome"], run["result"]) == ("ok", "all is well")


def test_a_run_is_judged_by_what_it_was_started_with_though_its_agent_has_taken_an_edit(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        go = tmp_path / "go"
        node.agent_type("edited", adapter="shell", success={"exit": [7]})
        task = str(node.dispatch(f"until test -e {go}; do sleep 0.05; done; exit 7", "--to", "edited")["id"])
        until(lambda: node.task(task)["status"] == "running")
        node.agent_type("edited", adapter="shell")
        assert node.json("agent", "register", "edited")["agents"] == ["edited"]
        pid = node.pid
        os.kill(pid, signal.SIGSTOP)
        go.touch()
        until((node.root / "edited" / task / "attempts" / "1" / "exit.json").exists)
        os.kill(pid, signal.SIGKILL)
        until(lambda: ended(pid))
        node.up()
        (run,) = until(lambda: node.task(task)["status"] == "completed" and node.task(task)["runs"])
        assert (run["outcome"], run["evidence"]) == ("ok", "exit 7")


def test_what_a_type_inherits_is_taken_from_the_daemon_until_the_next_one_is_started(tmp_path: Path) -> None:
    with Node(tmp_path / "node", WHOSE="the first daemon") as node:
        node.agent_type("heir", adapter="shell", env_inherit=["WHOSE"])
        node.up()

        def said() -> str:
            done = node.dispatch("echo of $WHOSE", "--to", "heir", "--sync", WHOSE="the caller")
            return str(done["runs"][-1]["result"])

        assert said() == "of the first daemon"
        node.json("shutdown")
        node.json("up", WHOSE="the second daemon")
        assert said() == "of the second daemon"
