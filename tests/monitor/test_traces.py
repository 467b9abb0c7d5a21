"""Traces reach a collector: the past by a command, what comes by a monitor; a bad collector holds up nobody else."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro import config
from maestro.model.errors import Invalid
from maestro.model.tracing import conventions
from maestro.model.tracing.span import Mark, Span
from maestro.monitor import collector, traces
from maestro.monitor.collector import Collector, NotTaken, endpoint_of
from maestro.monitor.daemon_link import DaemonLink
from maestro.monitor.service import Options
from maestro.runtime.protocol import messages as p
from tests.installation import Installation, left_behind
from tests.monitor.otlp_receiver import Receiver
from tests.runtime.acting import until

PATIENCE_S = 30

FLOW = """
steps:
  - id: a
    agent: shell
    prompt: echo "$TRACEPARENT"
  - id: b
    needs: [a]
    workflow: child
"""
CHILD = """
steps:
  - id: one
    run: echo "$TRACEPARENT"
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("traces")
    with Installation(folder / "here") as here:
        here.agent_type("shell", mode="script", adapter="shell")
        (folder / "child.yaml").write_text(CHILD)
        (folder / "flow.yaml").write_text(FLOW)
        here.json("workflow", "create", "child", "--definition", str(folder / "child.yaml"))
        here.json("workflow", "create", "flow", "--definition", str(folder / "flow.yaml"))
        yield here


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def link(here: Installation, monkeypatch: pytest.MonkeyPatch) -> DaemonLink:
    for name, value in here.env.items():
        monkeypatch.setenv(name, value)
    return DaemonLink(config.load())


def one_span(number: int = 1) -> Span:
    return Span("ab" * 16, f"{number:016x}", "", "s", 1, 2, {"maestro.task.id": "t"}, (Mark("maestro.m", 1, {}),))


def contexts(text: str) -> set[tuple[str, str]]:
    """The (trace, span) of each TRACEPARENT that was printed."""
    found = [word.split("-") for word in text.split() if word.startswith("00-")]
    return {(trace, span) for _, trace, span, _ in found}


def test_the_past_is_exported_with_the_spans_that_the_runs_were_told(here: Installation, receiver: Receiver) -> None:
    run = here.json("workflow", "run", "flow")["id"]
    task = here.json("task", "dispatch", 'echo "$TRACEPARENT"', "--to", "shell", "--sync")["id"]
    told = contexts(here.run("workflow", "logs", run).stdout + here.run("task", "logs", task).stdout)
    assert len(told) == 3
    answer = here.json(
        "events", "export", "--otlp", receiver.url, OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20eA=="
    )
    assert answer["spans"] == len(receiver.spans) and answer["open"] == answer["incomplete"] == 0
    assert told == {(span["trace"], span["id"]) for span in receiver.spans if "maestro.run.id" in span}
    assert receiver.headers["authorization"] == "Basic eA=="
    assert receiver.schema_urls == {conventions.SCHEMA_URL}
    ids = {span["id"]: span for span in receiver.spans}
    flow = next(span for span in receiver.spans if span["name"] == "invoke_workflow flow")
    below = {span["name"] for span in receiver.spans if span["trace"] == flow["trace"]}
    assert below == {f"invoke_workflow {name}" for name in ("flow", "child")} | {
        *("step a", "step b", "step one", "invoke_agent shell", "command .run")
    }
    assert all(not span["parent"] or span["parent"] in ids for span in receiver.spans)
    assert all(span["resource"]["service.namespace"] == here.env["MAESTRO_NAMESPACE"] for span in receiver.spans)
    again = list(receiver.spans)
    here.json("events", "export", "--otlp", f"{receiver.url}/v1/traces")
    assert receiver.spans == again * 2


def test_bad_input_is_one_line_and_exit_2(here: Installation, tmp_path: Path) -> None:
    for words in (
        ("--otlp", "localhost:4318"),
        ("--otlp", "ftp://h"),
        ("--otlp", "http://"),
        ("--otlp", "http://h:99999"),
        ("--otlp", "http://user:secret@h"),
        ("--otlp", "http://h/?a=b"),
        ("--otlp", "http://h", "--cloudevents"),
        ("--otlp", "http://h", "--from", "5", "--to", "4"),
    ):
        done = here.run("events", "export", *words)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), (words, done)
        assert "secret" not in done.stderr


def test_without_the_extra_one_line_says_how_to_get_it(here: Installation, tmp_path: Path) -> None:
    """As where it is not installed: the interpreter finds no package of this name."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
    done = here.run("events", "export", "--otlp", "http://127.0.0.1:4318", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and "-m pip install '.[otlp]'" in done.stderr
    assert here.run("events", "export", "--to", "1", PYTHONPATH=str(tmp_path)).returncode == 0


@pytest.mark.parametrize(
    ("fault", "refused", "retry_s", "said"),
    [
        ("hang", False, None, "no answer"),
        ("drip", False, None, "no answer"),
        ("reset", False, None, ""),
        (500, False, None, "500"),
        (401, False, None, "401"),
        (400, True, None, "400"),
        ((503, {"retry-after": "7"}), False, 7.0, "503"),
        ((429, {"retry-after": "99999999"}), False, collector.RETRY_S_MAX, "429"),
        ((503, {"retry-after": "nan"}), False, None, "503"),
        ((302, {"location": "http://169.254.169.254/"}), False, None, "302 to 'http://169.254.169.254/'"),
    ],
)
def test_each_fault_of_a_collector_is_told_in_bounded_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, fault: Any, refused: bool, retry_s: float | None, said: str
) -> None:
    monkeypatch.setattr(collector, "REQUEST_S_MAX", 1.0)
    receiver.faults.append(fault)
    with pytest.raises(NotTaken) as raised:
        trio.run(Collector(receiver.url, "n").send, [one_span()])
    assert (raised.value.refused, raised.value.retry_s) == (refused, retry_s)
    assert said in raised.value.what
    assert (receiver.requests, receiver.spans) == (1, [])


def test_what_a_collector_declines_is_counted_and_not_sent_again(receiver: Receiver) -> None:
    receiver.faults.append("decline")
    made = Collector(receiver.url, "n")
    trio.run(made.send, [one_span(1), one_span(2)])
    assert (made.rejected, receiver.requests) == (2, 1)


def test_the_base_of_a_collector_and_that_of_its_traces_name_the_same() -> None:
    for url in ("http://h:4318", "http://h:4318/", "http://h:4318/v1/traces"):
        assert endpoint_of(url) == "http://h:4318/v1/traces"
    assert endpoint_of("https://h/otlp") == "https://h/otlp/v1/traces"
    for url in ("", "h", "http://h:0", "http://h\n", "//h", "http://[::1"):
        with pytest.raises(Invalid):
            endpoint_of(url)


# ---- live ----


async def followed(url: str, link: DaemonLink, done: Callable[[], object], act: Callable[[], object]) -> list[str]:
    """Follow until `done`; what was said. act: done in a thread meanwhile."""
    said: list[str] = []
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(traces.follow, Options("m", otlp=url), link, said.append)
            await trio.to_thread.run_sync(act)
            while not done():
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    return said


def begin(url: str, link: DaemonLink) -> None:
    """Start a monitor for the first time, and end it."""
    group = p.EventsTail(group=traces.group_of(endpoint_of(url)), limit=0)
    trio.run(followed, url, link, lambda: link._ask(group, link.settings).data["position"], lambda: None)


def ended(here: Installation, url: str) -> set[str]:
    """The ids of all spans that have ended by now, as the past has them."""
    with Receiver() as other:
        here.json("events", "export", "--otlp", other.url)
        return {span["id"] for span in other.spans}


def test_a_monitor_sends_each_span_as_it_ends_and_one_that_follows_goes_on(
    here: Installation, link: DaemonLink, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(traces, "PAUSE_S", 0.05)
    go = tmp_path / "go"
    before = ended(here, receiver.url)
    task = here.json("task", "dispatch", f"until test -e {go}; do sleep 0.05; done", "--to", "shell")["id"]

    def spans(name: str) -> list[dict[str, Any]]:
        return [span for span in receiver.spans if span["name"] == name]

    def flow() -> None:
        here.json("workflow", "run", "flow", "--agent-override", "shell=type:shell")

    begin(receiver.url, link)
    other = here.json("task", "dispatch", "true", "--to", "type:shell")["id"]
    go.touch()
    assert here.run("task", "wait", task, other).returncode == 0
    assert not receiver.spans
    said = trio.run(followed, receiver.url, link, lambda: len(spans("task")) == 2, lambda: None)
    assert {span["maestro.task.id"] for span in spans("task")} == {task, other}
    assert said == []
    trio.run(followed, receiver.url, link, lambda: spans("invoke_workflow flow"), flow)
    sent = [span["id"] for span in receiver.spans]
    assert not before & set(sent), "what ended before the first start is the past"
    assert set(sent) == ended(here, receiver.url) - before
    assert len(sent) == len(set(sent))


def test_one_look_sends_what_has_ended_since_the_last_and_tries_nothing_twice(
    here: Installation, receiver: Receiver
) -> None:
    look = ("monitor", "start", "--once", "--otlp", receiver.url)
    assert here.run(*look).returncode in (0, 1) and receiver.requests == 0
    here.json("task", "dispatch", "true", "--to", "shell", "--sync")
    receiver.faults += [503]
    done = here.run(*look)
    assert done.returncode in (0, 1) and "503" in done.stderr and receiver.requests == 1
    for _ in range(2):
        assert here.run(*look).stderr == ""
        assert len(receiver.spans) == len({span["id"] for span in receiver.spans}) == 2


def test_a_collector_that_is_away_is_told_of_once_and_gets_all_when_it_is_back(
    here: Installation, link: DaemonLink, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "PAUSE_S", 0.05)
    monkeypatch.setattr(traces, "RETRY_S", 0.05)
    monkeypatch.setattr(collector, "REQUEST_S_MAX", 0.5)
    begin(receiver.url, link)
    receiver.faults += ["hang", 503, 503, "reset"]

    def dispatch() -> None:
        here.json("task", "dispatch", "true", "--to", "shell", "--sync")  # not held up by the collector

    said = trio.run(followed, receiver.url, link, lambda: len(receiver.spans) >= 2, dispatch)
    assert receiver.requests >= 5
    assert sum("503" in line for line in said) == 1
    assert said[-1].endswith("it takes spans again")
    assert len({span["id"] for span in receiver.spans}) == len(receiver.spans) == 2


def test_spans_that_a_collector_refuses_are_left_out_and_the_next_ones_go_on(
    here: Installation, link: DaemonLink, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "PAUSE_S", 0.05)
    begin(receiver.url, link)
    receiver.faults.append(400)
    said = trio.run(
        followed,
        receiver.url,
        link,
        lambda: receiver.requests >= 1,
        lambda: here.json("task", "dispatch", "true", "--to", "shell", "--sync"),
    )
    trio.run(
        followed,
        receiver.url,
        link,
        lambda: any(span["name"] == "task" for span in receiver.spans),
        lambda: here.json("task", "dispatch", "true", "--to", "shell", "--sync"),
    )
    assert any("left out" in line for line in said)


def test_a_monitor_that_dies_while_it_sends_sends_the_same_ids_again(
    here: Installation, link: DaemonLink, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between what the collector took and the position that is kept."""
    monkeypatch.setattr(traces, "PAUSE_S", 0.05)
    begin(receiver.url, link)
    kept = traces._Live._keep

    class Killed(Exception):
        pass

    async def killed(live: traces._Live) -> None:
        if receiver.spans:
            raise Killed
        await kept(live)

    monkeypatch.setattr(traces._Live, "_keep", killed)
    here.json("task", "dispatch", "true", "--to", "shell", "--sync")
    with contextlib.suppress(BaseExceptionGroup):
        trio.run(followed, receiver.url, link, lambda: False, lambda: None)
    first = [span["id"] for span in receiver.spans]
    monkeypatch.setattr(traces._Live, "_keep", kept)
    trio.run(followed, receiver.url, link, lambda: len(receiver.spans) >= len(first) + 2, lambda: None)
    assert first and {span["id"] for span in receiver.spans} == set(first) | {
        span["id"] for span in receiver.spans[len(first) :]
    }
    assert first == [span["id"] for span in receiver.spans[len(first) : 2 * len(first)]]


def test_a_monitor_sends_traces_and_starts_neither_daemon_nor_store_that_was_shut_down(
    receiver: Receiver, tmp_path: Path
) -> None:
    with Installation(tmp_path / "here") as here:
        here.agent_type("shell", mode="script", adapter="shell")
        bad = here.run("monitor", "start", "--otlp", "nowhere")
        assert (bad.returncode, len(bad.stderr.splitlines())) == (2, 1)
        here.json("up")
        words = [sys.executable, "-m", "maestro", "monitor", "start", "--otlp", receiver.url, "--interval", "1s"]
        log = (tmp_path / "log").open("w")
        with subprocess.Popen(words, env=here.env, stdout=log, stderr=log) as monitor:
            for _ in range(200):
                here.json("task", "dispatch", "true", "--to", "shell", "--sync")
                if receiver.spans:
                    break
            assert receiver.spans
            assert here.run("shutdown").returncode == 0
            until(lambda: "traces: " in (tmp_path / "log").read_text())
            time.sleep(2.5)  # twice as long as it waits before it asks again
            assert not (here.home / "store" / "server.pid").exists()
            assert all("monitor start" in each for each in left_behind(here.home))
            monitor.terminate()
            assert monitor.wait(PATIENCE_S) == 0


def test_importing_the_command_line_imports_none_of_it() -> None:
    """It is paid for by who uses it."""
    code = (
        "import sys, maestro.cli.events\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('trio', 'httpx', 'opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
