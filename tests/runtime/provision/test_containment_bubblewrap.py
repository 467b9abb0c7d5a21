"""What an agent in bubblewrap tries, and does not get; how it is stopped, killed and judged all the same.

Where bubblewrap does not work each test says so, and checks that such a type is refused.
"""

from __future__ import annotations

import base64
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from maestro.runtime.provision import containment
from tests.installation import Installation

FAULT = containment.bubblewrap().fault
SECRET = "s3cret-of-the-box-91"


class Box:
    """An installation with one isolated agent, whose runs are shell scripts."""

    def __init__(self, maestro: Installation) -> None:
        self.maestro = maestro

    def type(self, slug: str, **keys: Any) -> None:
        self.maestro.agent_type(slug, adapter="shell", isolate_with="bubblewrap", **keys)

    def run(self, script: str, agent: str = "box", *words: str) -> dict[str, Any]:
        """The task's row, with the log of its run as `log`; its prompt is the script."""
        done = self.maestro.run("task", "dispatch", script, "--to", agent, "--sync", *words)
        row = self.maestro.json("task", "status", "--last")
        row["log"] = Path(row["runs"][-1]["log"]).read_text() if row["runs"] else ""
        assert row["runs"], done.stderr
        found: dict[str, Any] = row
        return found


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box | None]:
    """None where bubblewrap does not work: then the type was refused, which this says."""
    folder = tmp_path_factory.mktemp("box")
    with Installation(folder, BOX_KEY=SECRET) as maestro:
        found = Box(maestro)
        credential = folder / ".config" / "kilo" / "auth.json"
        credential.parent.mkdir(parents=True)
        credential.write_text("the login")
        (folder / "private").write_text("a private thing")
        cache = folder / "cache"
        cache.mkdir()
        (cache / "kept").write_text("cached")
        found.type("box", credentials=["~/.config/kilo/auth.json"], shared_cache=str(cache), secret_env=["BOX_KEY"])
        done = maestro.run("agent", "assign", "box")
        if FAULT:
            warnings.warn(f"{FAULT}: checked that the type is refused", stacklevel=1)
            assert done.returncode != 0 and "isolate_with: bubblewrap is not possible here" in done.stderr
            yield None
            return
        assert done.returncode == 0, done.stderr
        yield found


def test_it_finds_its_workspace_its_home_and_its_login_and_nothing_else_of_the_home(box: Box | None) -> None:
    if box is None:
        return
    user = box.maestro.folder
    row = box.run(
        f"pwd; echo mine > made; cat $HOME/.config/kilo/auth.json; echo; ls -A {user} {user}/root; "
        f"cat {user}/private {user}/agents.d/box.yaml {box.maestro.home}/node.json {box.maestro.home}/daemon.sock; "
        f"ls -A /root /home; touch $HOME/kept; echo $HOME"
    )
    workspace = Path(row["runs"][0]["workspace"])
    assert (workspace / "made").read_text() == "mine\n"
    lines = row["log"].splitlines()
    assert lines[:2] == [str(workspace), "the login"]
    assert "a private thing" not in row["log"] and row["log"].count("No such file") >= 4
    home = Path([line for line in lines if line.startswith("/")][-1])  # what `ls` could not find may come behind it
    assert home == box.maestro.home / "agents" / "box" / "home" and (home / "kept").exists()
    assert not (user / "kept").exists()
    assert (home / ".config/kilo/auth.json").read_text() == ""  # bound from outside, nothing of it is kept


def test_it_writes_nowhere_but_where_it_may(box: Box | None) -> None:
    if box is None:
        return
    targets = ["/usr/x", "/etc/x", "/x", str(box.maestro.folder / "cache/x"), "$HOME/.config/kilo/auth.json", "/sys/x"]
    row = box.run("; ".join(f"( echo x > {path} ) && echo WROTE {path}" for path in targets) + "; cat $0; ls /tmp")
    assert "WROTE /" not in row["log"].replace("&& echo WROTE", "")
    assert (box.maestro.folder / "cache" / "kept").read_text() == "cached"
    row = box.run(f"cat {box.maestro.folder}/cache/kept; echo x > /tmp/private-tmp; ls /tmp")
    assert row["log"].startswith("cached") and not Path("/tmp/private-tmp").exists()


def test_it_changes_no_setting_of_the_kernel_even_as_the_superuser(box: Box | None) -> None:
    if box is None:
        return
    settings = ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger"]
    row = box.run("; ".join(f"( : >> {path} ) && echo OPENED" for path in settings) + "; unshare -Ur true && echo NEW")
    assert "OPENED\n" not in row["log"] and "NEW\n" not in row["log"]


def test_it_sees_and_signals_no_process_but_its_own(box: Box | None) -> None:
    if box is None:
        return
    row = box.run(f"ls /proc | grep -c '^[0-9]'; kill -0 {os.getpid()} && echo FOUND; kill -0 1 && echo init")
    assert int(row["log"].split()[0]) < 8 and "FOUND" not in row["log"]


def test_it_reaches_no_network_unless_that_is_shared(box: Box | None) -> None:
    if box is None:
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = (
            f"{sys.executable} -ISc 'import socket; "
            f'socket.create_connection(("127.0.0.1", {port}), 3); print("CONNECTED")\''
        )
        assert "CONNECTED\n" not in box.run(script)["log"]
        box.type("netted", shared_network=True)
        box.maestro.json("agent", "assign", "netted")
        assert "CONNECTED\n" in box.run(script, "netted")["log"]


def test_state_works_from_inside_and_the_other_commands_do_not(box: Box | None) -> None:
    if box is None:
        return
    row = box.run("maestro state set k from-inside >/dev/null && maestro state get k; maestro agent list; echo $?")
    assert "from-inside" in row["log"] and row["log"].split()[-1] != "0"


def test_secrets_reach_it_and_no_place_where_they_could_be_read_later(box: Box | None) -> None:
    if box is None:
        return
    encoded = base64.b64encode(SECRET.encode()).decode()
    row = box.run(f'test "$(printf %s "$BOX_KEY" | base64)" = {encoded} && echo right; echo "$BOX_KEY"; env | base64')
    assert row["log"].startswith("right\n[redacted]\n")
    everything = box.maestro.run("events", "list").stdout + box.maestro.run("agent", "logs", "box").stdout
    for folder in (box.maestro.home, box.maestro.root):
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "prompt.txt":
                everything += path.read_bytes().decode("latin-1")
    assert SECRET not in everything


@pytest.mark.parametrize("code", [0, 3, 77, 126])
def test_exit_codes_come_out_as_they_were(box: Box | None, code: int) -> None:
    if box is None:
        return
    assert box.run(f"exit {code}")["exit_code"] == code


def test_a_stop_reaches_the_agent_which_may_tidy_up(box: Box | None) -> None:
    if box is None:
        return
    row = box.run("trap 'echo tidied; exit 9' TERM; echo up; while :; do sleep 0.1; done", "box", "--timeout", "1")
    assert row["outcome"] == "timeout" and "tidied" in row["log"] and row["runs"][0]["exit_code"] == 9


def test_what_it_leaves_running_ends_with_it(box: Box | None) -> None:
    if box is None:
        return
    row = box.run("setsid sh -c 'trap \"\" TERM; sleep 871' & setsid setsid sleep 872 & sleep 0.2; echo done")
    assert row["status"] == "completed"
    deadline = time.monotonic() + 10
    while sleepers("871", "872"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sleepers(*seconds: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[:1] == ["sleep"] and words[1:2] and words[1] in seconds:
            found.append(process.pid)
    return found


def test_its_own_process_is_the_one_that_health_looks_at(box: Box | None) -> None:
    if box is None:
        return
    task = box.maestro.json("task", "dispatch", "kill -STOP $$; echo never", "--to", "box", "--async")["id"]
    deadline = time.monotonic() + 30
    while True:
        health = box.maestro.run("agent", "health", "box").stdout
        if "stopped" in health:
            break
        assert time.monotonic() < deadline, health
        time.sleep(0.5)
    box.maestro.json("task", "cancel", task)
