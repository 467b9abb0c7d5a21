"""A real Prometheus scrapes a real monitor of a real daemon: its queries, the rules, and what is told of an outage."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from maestro.metrics import METRICS
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until

FOLDER = Path(__file__).parents[2] / "tools/prometheus"
PROMETHEUS = [path for path in [shutil.which("prometheus")] if path and shutil.which("promtool")]
"""The program, where there is one; without it these tests are left out, which `tools/test` says."""


def a_free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Scraped:
    """An installation with a monitor. port: where that serves metrics; server: the store."""

    def __init__(self, node: Node, server: StoreServer) -> None:
        self.node, self.server, self.port = node, server, a_free_port()
        command = [sys.executable, "-m", "maestro", "monitor", "start", "--metrics-port", str(self.port)]
        self.monitor = subprocess.Popen(command, env=node.env, stdout=subprocess.DEVNULL)

    def text(self) -> str:
        """A scrape; "" where the exporter does not listen yet."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
                return str(answer.read().decode())
        except URLError:
            return ""

    def values(self) -> dict[str, float]:
        """The samples of a scrape, by name and labels as they are written."""
        lines = [line for line in self.text().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def close(self) -> None:
        self.monitor.terminate()
        self.monitor.wait()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """One good task, one that failed, one that runs, two behind it, and a snapshot."""
    server = StoreServer("valkey", "--appendfsync", "no")
    try:
        with Node(tmp_path_factory.mktemp("scraped"), MAESTRO_REDIS_URL=server.url) as node:
            node.agent_type("shell", mode="script", adapter="shell")
            node.json("agent", "assign", "shell", "--to-workspace", f"{node.folder}/w")
            node.run("task", "dispatch", "echo hi", "--to", "shell", "--sync")
            node.run("task", "dispatch", "exit 3", "--to", "shell", "--sync")
            running = node.json("task", "dispatch", "exec sleep 600", "--to", "shell")["id"]
            until(lambda: node.json("task", "status", running)["status"] == "running")
            behind = node.json("task", "dispatch", "true", "--to", "shell")["id"]
            node.json("task", "dispatch", "true", "--to", "shell", "--depends-on", behind)
            node.json("state", "snapshot")
            found = Scraped(node, server)
            try:
                until(found.text)
                yield found
            finally:
                found.close()
    finally:
        server.close()


def test_all_metrics_are_told_and_say_what_happened(scraped: Scraped) -> None:
    values = scraped.values()
    told = {re.sub(r"[{].*", "", name) for name in values}
    assert told >= {name for name, metric in METRICS.items() if metric.kind != "histogram"}
    assert told >= {f"{name}_count" for name, metric in METRICS.items() if metric.kind == "histogram"}
    assert (values['maestro_tasks_total{outcome="ok"}'], values['maestro_tasks_total{outcome="exit"}']) == (1, 1)
    assert values["maestro_run_seconds_count"] == 2
    assert values["maestro_queue_wait_seconds_count"] == 3
    assert values['maestro_queue_depth{reason="agent"}'] == values['maestro_queue_depth{reason="dependency"}'] == 1
    assert sum(value for name, value in values.items() if name.startswith("maestro_queue_depth")) == 2
    assert values["maestro_run_oldest_seconds"] > 0
    assert (values['maestro_slots{state="busy"}'], values['maestro_slots{state="free"}']) == (1, 3)
    assert values['maestro_agents{health="healthy"}'] == 1
    assert values["maestro_snapshot_bytes_count"] == values["maestro_snapshot_seconds_count"] == 1
    assert values["maestro_log_events"] > 20
    totals = scraped.node.json("replay", "at", str(scraped.node.json("replay", "verify")["position"]), "totals")
    assert json.dumps(totals).count('"exit": 1') == 1


@pytest.mark.parametrize("program", PROMETHEUS)
def test_prometheus_finds_nothing_to_say_about_names_and_types(scraped: Scraped, program: str) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped.text(), text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize("program", PROMETHEUS)
def test_each_rule_fires_and_does_not(program: str) -> None:
    files = sorted(path.name for path in FOLDER.glob("*.test.yml"))
    tested = subprocess.run(["promtool", "test", "rules", *files], cwd=FOLDER, text=True, capture_output=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    alerts = re.findall(r"alert: (\w+)", (FOLDER / "maestro.rules.yml").read_text())
    cases = "".join((FOLDER / name).read_text() for name in files)
    for alert in alerts:
        fires, silent = f"alertname: {alert}\n", f"{{alertname: {alert}, eval_time:"
        assert fires in cases, f"no test has {alert} fire"
        assert silent in cases, f"no test has {alert} not fire"


class Prometheus:
    """A Prometheus that scrapes one target many times a second, with our rules."""

    def __init__(self, program: str, folder: Path, target: int) -> None:
        self.port = a_free_port()
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(FOLDER / "maestro.rules.yml")],
            "scrape_configs": [{"job_name": "maestro", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **query: str) -> Any:
        """An answer's data; None where it does not listen yet. An expression that it cannot read is an HTTPError."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except ConnectionError:
            return None
        except URLError as error:
            starting = isinstance(error, HTTPError) and error.code == 503
            if starting or isinstance(error.reason, ConnectionError):
                return None
            raise

    def value(self, expression: str) -> list[Any]:
        """The samples of an expression now."""
        found = self.ask("query", query=expression)
        return [] if found is None else list(found["result"])

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.mark.parametrize("program", PROMETHEUS)
def test_every_panel_has_an_answer_and_every_rule_is_evaluated(scraped: Scraped, program: str, tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "maestro.dashboard.json").read_text())["panels"]
    prometheus = Prometheus(program, tmp_path, scraped.port)
    try:
        until(lambda: prometheus.value("rate(maestro_log_events[1m])"))  # two scrapes
        empty = []
        for title, query in [
            (panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])
        ]:
            expression = query.replace("$job", "maestro").replace("$__rate_interval", "1m")
            assert "$" not in expression
            if not prometheus.value(expression):
                empty.append(title)
        assert not empty
        until(lambda: all(rule["health"] == "ok" for rule in rules(prometheus)))
        states = {rule["name"]: rule.get("state") for rule in rules(prometheus)}
        assert states["MaestroStoreDown"] == states["MaestroNothingRuns"] == "inactive"
        (up,) = prometheus.value('up{job="maestro"}')
        assert up["value"][1] == "1"
    finally:
        prometheus.close()


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    """All rules, as Prometheus has them."""
    return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]


def test_while_the_store_is_away_that_is_told_and_no_depth(scraped: Scraped) -> None:
    scraped.server.signal(signal.SIGSTOP)
    try:
        values = until(lambda: (found := scraped.values()) and found["maestro_store_up"] == 0 and found)
        here = {name for name, metric in METRICS.items() if metric.away}
        assert {re.sub(r"(_bucket|_sum|_count)?([{].*)?$", "", name) for name in values} == here
        assert values["maestro_daemon_up"] == 1
    finally:
        scraped.server.signal(signal.SIGCONT)
    until(lambda: 'maestro_queue_depth{reason="agent"} 1.0' in scraped.text())


def test_what_cannot_be_served_ends_a_monitor_with_one_line(scraped: Scraped) -> None:
    for words in ([str(scraped.port)], [str(a_free_port()), "--metrics-host", "0.0.0.0"]):
        done = scraped.node.run("monitor", "start", "--metrics-port", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr


def test_a_daemon_that_is_down_is_told_and_not_started(scraped: Scraped) -> None:
    scraped.node.run("shutdown", "--grace-period", "1")
    assert scraped.values() == {"maestro_daemon_up": 0}
    assert scraped.node.json("node", "list")[0]["status"] != "up"
