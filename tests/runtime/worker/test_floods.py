"""Too much of everything: output, prompts, tasks. The daemon stays small, on time and answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag, Thread

import psutil
import pytest

from tests.runtime.acting import Node

MEGABYTE = 1024 * 1024
GROWTH_MAX = 32 * MEGABYTE
LOG_MAX = 64 * MEGABYTE
CHAIN = 1000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("floods")) as node:
        for name in ("f1", "f2", "f3", "f4"):
            node.agent_type(name, adapter="shell")
        node.dispatch("true", "--to", "f1,f2,f3,f4", "--sync")
        yield node


class Watched:
    """The daemon's memory at its highest while inside. Use as a context manager."""

    def __init__(self, node: Node) -> None:
        self._daemon = psutil.Process(node.pid)
        self._over = Flag()
        self._thread = Thread(target=self._look)
        self.before = self.highest = self._daemon.memory_info().rss

    @property
    def growth(self) -> int:
        return self.highest - self.before

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.highest = max(self.highest, self._daemon.memory_info().rss)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_a_flood_of_output_costs_the_daemon_nothing_and_is_capped_with_a_mark(node: Node) -> None:
    """50 MB each from three, 90 MB from one: colours, no newline, what is no UTF-8, NUL."""
    rubbish = node.folder / "rubbish"
    rubbish.write_bytes(b"\x1b[31m\xff\xfe\x00red\x1b]0;title\x07" * 50_000)
    times = {name: 50 * MEGABYTE // rubbish.stat().st_size for name in ("f1", "f2", "f3")}
    times["f4"] = 90 * MEGABYTE // rubbish.stat().st_size
    with Watched(node) as watched:
        tasks = [
            node.dispatch(
                f"i=0; while [ $i -lt {count} ]; do cat {rubbish}; i=$((i+1)); done; echo the end", "--to", name
            )
            for name, count in times.items()
        ]
        oldest = 0.0
        while any(node.task(str(task["id"]))["status"] != "completed" for task in tasks):
            ages = [row["heartbeat_age_s"] for row in node.json("agent", "list")]
            oldest = max([oldest, *(age for age in ages if age is not None)])
    assert watched.growth < GROWTH_MAX, watched.growth
    assert oldest < 15
    rows = [node.task(str(task["id"])) for task in tasks]
    logs = [Path(row["runs"][0]["log"]) for row in rows]
    assert [log.stat().st_size > 50 * MEGABYTE - 2 * rubbish.stat().st_size for log in logs] == [True] * 4
    assert logs[3].stat().st_size < LOG_MAX + MEGABYTE
    assert "bytes of the middle of its log were left out, above the cap of 64 MiB" in rows[3]["runs"][0]["evidence"]
    shown = node.run("task", "logs", str(rows[3]["id"])).stdout
    assert "bytes are left out here, above the cap of a log" in shown and shown.rstrip().endswith("the end")
    for row in rows:
        result = node.json("state", "get", f"task:{row['id']}:result")["value"]
        assert result.endswith("the end")
        assert "\x1b" not in result and "\0" not in result
    last = node.run("agent", "logs", "f1", "--lines", "1").stdout
    assert last.rstrip().endswith("the end")


def test_a_prompt_of_10_mb_arrives_whole_in_bounded_memory(node: Node) -> None:
    prompt = 'wc -c < $MAESTRO_TASK_PROMPT_UNUSED 2>/dev/null; wc -c < "$0"; exit 0\n' + "x" * (10 * MEGABYTE)
    with Watched(node) as watched:
        row = node.dispatch("-", "--to", "f1", "--sync", stdin=prompt)
    assert str(len(prompt)) in row["runs"][0]["result"]
    assert (node.root / "f1" / str(row["id"]) / "prompt.txt").stat().st_size == len(prompt)
    assert len(row["title"]) <= 120
    assert watched.growth < GROWTH_MAX, watched.growth


def test_a_chain_of_many_tasks_whose_first_is_cancelled_is_skipped_to_its_end(node: Node) -> None:
    head = node.dispatch("sleep 600", "--to", "f1")
    before = str(head["id"])
    before = chain(node, before, CHAIN)
    waiting = node.json("queue", "status", "--waiting", "--limit", "20")
    assert len(waiting) == 20
    node.json("task", "cancel", str(head["id"]))
    assert node.run("task", "wait", before).returncode == 1
    last = node.task(before)
    assert (last["status"], last["runs"]) == ("skipped", [])
    assert "Traceback" not in node.log()


def chain(node: Node, before: str, count: int) -> str:
    """Dispatch tasks that each depend on the one before, in the environment of one process; the last one's id."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from maestro import config\n"
        "from maestro.runtime.client import client\nfrom maestro.runtime.protocol import messages as p\n"
        "import os\n"
        "settings = config.load(os.environ, Path.cwd())\n"
        "before = sys.argv[1]\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    command = p.TaskDispatch(prompt='true', to=['f1'], depends_on=[before])\n"
        "    before = client.execute(command, settings, print).data['id']\n"
        "print(before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, before, str(count)], env=node.env, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]
