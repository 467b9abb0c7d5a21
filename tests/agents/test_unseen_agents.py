"""Agents that nobody has seen before, added by YAML only: their programs are small scripts, everything else is real.

The prompt is the script of a run: `brook` tells events of an odd shape, `quill` plain text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.kilos import program
from tests.installation import Installation

BROOK = r"""
case "$1" in
  --version) echo "brook/4.2.0-beta"; exit ;;
  roles) cat "${0%/*}/roles"; exit ;;
esac
echo "$@" | head -n 1 >> "${0%/*}/calls"
tell() { echo '{"ev":'"$1"'}'; }
say() { printf '{"ev":"delta","body":[{"s":"%s"},{"i":1},{"s":"%s"}]}\n' "$1" "$2"; }
spend() { printf '{"ev":"meter","now":{"tokensIn":%s,"tokensOut":%s},"usd":"%s"}\n' "$1" "$2" "${3:-0}"; }
until_told() { until test -e "$1"; do sleep 0.05; done; }
echo '{"ev":"open","conv":{"id":"c-17"}}'
for prompt; do :; done
eval "$prompt"
"""
BROOK_YAML = r"""
slug: brook
mode: scout
bin: BIN
version: {argv: ["{bin}", --version], regex: 'brook/(\S+)', min: "4.0"}
modes: {list: {argv: ["{bin}", roles], regex: '^role: (\S+)', exclude: [hidden]}, map: {code: builder}}
argv: ["{bin}", chat, --as, "{mode}", --, "{prompt}"]
output:
  format: ndjson
  session: [conv.id]
  text: {match: {ev: delta}, path: "body[*].s", take: all, after: {ev: tool}}
  usage: {match: {ev: meter}, path: now, cost: usd}
success: {final_event: {ev: done, ok: true}, fail_event: {ev: [done, fault], ok: false}, refused_event: {ev: denied}}
resume: {args: [--thread, "{session}"], before: --}
"""
QUILL = r"""
echo "$@" >> "${0%/*}/calls"
cat "$2" >> "${0%/*}/calls"
echo "session q-7 begins" >&2
. "$3"
"""
QUILL_YAML = r"""
slug: quill
bin: BIN
argv: ["{bin}", --config, "{tmp}/conf/quill.json", "{prompt_file}"]
files: [{path: "{tmp}/conf/quill.json", content: "{\"quiet\": true}\n"}]
output: {session: ['^session (\S+)']}
success: {exit: [0, 3], fail_stdout: '^ERROR', fail_stderr: 'quota', refused_text: '^I will not', output_required: true}
resume: {argv: ["{bin}", --config, "{tmp}/conf/quill.json", "{prompt_file}", --again, "{session}"]}
"""
DONE = 'echo \'{"ev":"done","ok":true}\''


class Here(Installation):
    """An installation with both agents."""

    def __enter__(self) -> Here:
        return self

    def add(self, yaml: str, slug: str = "", more: str = "") -> None:
        """A type by its YAML."""
        name = yaml.split("slug: ")[1].split()[0]
        text = yaml.replace(f"slug: {name}", f"slug: {slug or name}").replace("BIN", str(self.bin(name)))
        (self.agents / f"{slug or name}.yaml").write_text(text + more)

    def bin(self, name: str) -> Path:
        return self.folder / name / name

    def calls(self, name: str) -> list[str]:
        """How the program was called."""
        return (self.bin(name).parent / "calls").read_text(errors="replace").splitlines()

    def does(self, prompt: str, agent: str, *words: str) -> dict[str, Any]:
        """The task after its end."""
        done = self.run("task", "dispatch", prompt, "--to", agent, "--sync", *words)
        assert done.stdout, done.stderr
        row: dict[str, Any] = json.loads(done.stdout)
        return row

    def ended(self, task: str) -> dict[str, Any]:
        self.run("task", "wait", task)
        row: dict[str, Any] = self.json("task", "status", task)
        return row


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    with Here(tmp_path_factory.mktemp("unseen")) as installation:
        roles = program(installation.bin("brook"), BROOK).parent / "roles"
        roles.write_text("role: scout [v2]\nrole: builder\nrole: hidden\n")
        program(installation.bin("quill"), QUILL)
        installation.add(BROOK_YAML)
        installation.add(QUILL_YAML)
        yield installation


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_types_are_shown_with_program_version_and_modes_or_why_not(here: Here) -> None:
    found = {row["slug"]: row for row in here.json("agent", "types", "--check")}
    brook = found["brook"]
    assert (brook["usable"], brook["version"], brook["modes"]) == (True, "4.2.0-beta", ["scout", "builder"])
    assert (brook["binary"], found["quill"]["usable"]) == (str(here.bin("brook")), True)
    here.add(BROOK_YAML.replace("mode: scout", "mode: hidden"), "hidden")
    found = {row["slug"]: row for row in here.json("agent", "types", "--check")}
    assert (found["hidden"]["valid"], found["hidden"]["usable"]) == (True, False)
    assert "has no mode hidden" in found["hidden"]["reason"]


def test_editors_get_a_schema_and_people_get_tables(here: Here) -> None:
    assert here.json("agent", "types", "--schema")["title"] == "Maestro agent type"
    shown = here.run("agent", "types", "--check", "--format", "table").stdout.splitlines()
    assert shown[0].split() == [
        "TYPE",
        "USABLE",
        "ADAPTER",
        "VERSION",
        "MODE",
        "MODES",
        "USAGE",
        "BINARY",
        "SOURCE",
        "REASON",
    ]
    assert next(line.split()[:4] for line in shown if line.startswith("brook ")) == [
        "brook",
        "yes",
        "none",
        "4.2.0-beta",
    ]


def test_an_agent_that_tells_events_has_its_text_session_and_usage_recorded(here: Here) -> None:
    prompt = f"say I think; tell '\"tool\"'; say 'four' 'ty two'; spend 10 5 0.25; spend 1 1 0.5; {DONE}"
    task = here.does(prompt, "brook")
    run = task["runs"][0]
    assert (task["status"], run["result"], run["session"]) == ("completed", "fourty two", "c-17")
    assert task["usage"] == {"input_tokens": 11, "output_tokens": 6, "cached_tokens": 0, "cost": 0.75}
    assert here.run("state", "get", f"task:{task['id']}:result", "--raw").stdout.strip() == "fourty two"
    assert here.calls("brook")[-1].startswith("chat --as scout -- say")
    kinds = [event["type"] for event in here.json("audit", task["id"])]
    assert {"run.session_opened", "run.usage_reported"} <= set(kinds)
    assert not list(Path(run["log"]).parent.glob("stdout")), "the copy is gone once the end is in the log"


def test_usage_is_an_event_while_the_run_goes_on(here: Here, tmp_path: Path) -> None:
    go = tmp_path / "go"
    task = here.json("task", "dispatch", f"spend 10 5; until_told {go}; spend 1 1; {DONE}", "--to", "brook")["id"]
    until(lambda: here.json("task", "status", task)["usage"]["input_tokens"] == 10)
    row = here.json("task", "status", task)
    assert (row["status"], row["runs"][0]["session"]) == ("running", "c-17")
    go.touch()
    assert here.ended(task)["usage"]["input_tokens"] == 11


@pytest.mark.parametrize(
    ("agent", "prompt", "outcome", "evidence"),
    [
        ("brook", "say almost", "agent_error", "exit 0, but final_event is missing among 2 events"),
        ("brook", 'echo \'{"ev":"done","ok":false,"why":"401"}\'', "agent_error", 'line 2: {"ev": "done", "ok": false'),
        (
            "brook",
            f'echo \'{{"ev":"denied","tool":"rm"}}\'; {DONE}',
            "refused",
            'refused_event: line 2: {"ev": "denied"',
        ),
        ("brook", f"{DONE}; echo broken >&2; exit 4", "exit", "exit 4; last line: broken"),
        ("brook", f"printf '\\377\\033[2J%0100000d\\n' 0; say fine; {DONE}", "ok", "exit 0"),
        ("brook", 'say fine; printf \'{"n":["%03000000d"],"ev":"done","ok":true}\\n\' 0', "ok", "exit 0"),
        ("brook", f'{DONE}; printf \'{{"n":"%03000000d\\n\' 0', "ok", "line 3, of 3000006 bytes, is no whole JSON"),
        ("quill", "echo ERROR: no key", "agent_error", "fail_stdout ^ERROR matched: ERROR: no key"),
        ("quill", "echo fine; echo over quota >&2", "agent_error", "fail_stderr quota matched: over quota"),
        ("quill", "echo well; echo I will not do that", "refused", "refused_text ^I will not matched"),
        ("quill", "true", "no_output", "output_required: exit 0 without a final text"),
        ("quill", "echo fine; exit 3", "ok", "exit 3"),
        ("quill", "echo fine; kill -9 $$", "exit", "ended by SIGKILL"),
    ],
)
def test_how_a_run_ended_is_known_with_its_rule(
    here: Here, agent: str, prompt: str, outcome: str, evidence: str
) -> None:
    task = here.does(prompt, agent)
    assert (task["outcome"], evidence in task["runs"][0]["evidence"]) == (outcome, True), task["runs"][0]["evidence"]


def test_an_agent_with_plain_text_gets_its_files_and_goes_on_with_its_session(here: Here) -> None:
    task = here.does("echo first", "quill")
    assert (task["runs"][0]["result"], task["runs"][0]["session"]) == ("first", "q-7")
    assert here.calls("quill")[-1] == '{"quiet": true}'
    here.json("task", "retry", task["id"], "--continue")
    assert here.ended(task["id"])["runs"][1]["outcome"] == "ok"
    assert here.calls("quill")[-2].endswith("/prompt.txt --again q-7")
    here.json("task", "retry", task["id"])
    assert len(here.ended(task["id"])["runs"]) == 3
    assert not here.calls("quill")[-2].endswith("--again q-7")


def test_a_session_is_gone_on_with_at_the_place_that_the_type_names(here: Here) -> None:
    task = here.does(f"say one; spend 1 1; {DONE}", "brook")["id"]
    here.json("task", "retry", task, "--continue")
    assert here.ended(task)["usage"]["input_tokens"] == 2
    assert here.calls("brook")[-1].startswith("chat --as scout --thread c-17 -- say one")


def test_without_a_session_or_a_way_to_go_on_with_it_a_retry_says_so(here: Here) -> None:
    task = here.does("echo hello", "shell")["id"]
    done = here.run("task", "retry", task, "--continue")
    assert (done.returncode, done.stdout) == (4, "")
    assert "no run of shell has told a session to go on with" in done.stderr


def test_a_run_is_verified_by_the_tasks_command_or_the_types(here: Here) -> None:
    here.add(QUILL_YAML, "careful", "verify: test -e made\nlimits: {verify_s: 1}\n")
    task = here.does("touch made; echo made it", "careful")
    assert (task["status"], task["runs"][0]["evidence"]) == ("completed", "exit 0; verify test -e made passed")
    task = here.does("echo I did it", "careful")
    assert (task["status"], task["outcome"], task["exit_code"]) == ("failed", "agent_error", 1)
    assert task["runs"][0]["evidence"] == "exit 0, but verify test -e made exited 1"
    task = here.does("echo x > made; echo hm", "careful", "--verify", "cat made; echo $MAESTRO_TASK_ID >&2; exit 7")
    assert f"exited 7; last line: {task['id']}" in task["runs"][0]["evidence"]
    assert here.run("task", "logs", task["id"]).stdout.splitlines()[-1] == task["id"]
    task = here.does("echo hm", "careful", "--verify", "sleep 600")
    assert "took longer than 1 s (limits.verify_s)" in task["runs"][0]["evidence"]
    task = here.does("echo hm; exit 9", "careful", "--verify", f"touch {here.folder}/verified")
    assert (task["outcome"], (here.folder / "verified").exists()) == ("exit", False)


def test_silence_and_budgets_end_a_run(here: Here) -> None:
    here.add(QUILL_YAML, "silent", "limits: {silent_s: 0.5}\n")
    task = here.does("echo working; sleep 600", "silent")
    assert task["outcome"] == "stalled"
    assert "nothing was printed for 0.5 s (limits.silent_s)" in task["runs"][0]["evidence"]
    here.add(BROOK_YAML, "thrifty", "budget: {tokens: 100, cost: 1}\n")
    task = here.does(f"spend 100 0; {DONE}", "thrifty")
    assert task["outcome"] == "ok"
    task = here.does("spend 90 11; sleep 600", "thrifty")
    assert task["outcome"] == "budget"
    assert "the type's budget of one run is 100 tokens, 101 were used" in task["runs"][0]["evidence"]
    task = here.does("spend 1 1 0.75; sleep 600", "brook", "--budget-cost", "0.5")
    assert (task["outcome"], task["budget"]) == ("budget", {"tokens": None, "cost": 0.5})
    assert "the task's budget is a cost of 0.5, 0.75 was used" in task["runs"][0]["evidence"]
    larger = alert_of(here, task["id"])["command"].partition("#")[0].split()
    assert larger[:4] == ["maestro", "task", "retry", task["id"]] and larger[4] == "--budget-cost"
    assert here.json(*larger[1:])["budget"]["cost"] == float(larger[5]) > 0.75
    here.json("task", "cancel", task["id"])
    here.ended(task["id"])
    task = here.does(
        'spend 6 0; echo \'{"ev":"fault","ok":false}\'', "brook", "--budget-tokens", "10", "--retries", "3"
    )
    assert [run["outcome"] for run in task["runs"]] == ["agent_error", "budget"], "its tries have it together"
    used = {row["id"]: row["usage"] for row in here.json("agent", "list", "--usage")}
    assert (used["thrifty"]["input_tokens"], used["thrifty"]["output_tokens"]) == (190, 11)
    assert used["silent"]["input_tokens"] == 0


def alert_of(here: Here, task: str) -> dict[str, Any]:
    """The alert that a task has spent its budget."""
    found: list[dict[str, Any]] = []

    def listed() -> bool:
        found[:] = [row for row in here.json("monitor", "alerts") if row["id"] == f"over_budget:{task}"]
        return bool(found)

    until(listed)
    return found[0]


def test_a_type_that_spends_its_budget_goes_on_with_a_larger_one_as_it_says(here: Here) -> None:
    here.add(BROOK_YAML, "dear", "budget: {cost: 1}\n")
    task = here.does(f"spend 1 1 1.5; sleep 1; {DONE}", "dear")
    assert task["outcome"] == "budget"
    told = task["runs"][0]["evidence"]
    assert "to raise it: `budget` in " in told and "then `maestro agent register dear`" in told, told
    assert alert_of(here, task["id"])["command"].startswith(f"maestro task status {task['id']}")
    here.add(BROOK_YAML, "dear", "budget: {cost: 9}\n")
    here.json("agent", "register", "dear")
    here.json("task", "retry", task["id"])
    assert here.ended(task["id"])["outcome"] == "ok"


def test_a_mode_that_the_program_has_lost_is_found_before_the_start(here: Here) -> None:
    assert here.does(DONE, "brook")["outcome"] == "ok"
    calls = len(here.calls("brook"))
    before = here.bin("brook").read_text()
    (here.bin("brook").parent / "roles").write_text("role: builder\n")
    here.bin("brook").write_text(before + "# another build\n")
    task = here.does(DONE, "brook")
    assert (task["outcome"], task["source"], len(here.calls("brook"))) == ("wrong_mode", "maestro", calls)
    assert "has no mode scout, it has builder" in task["runs"][0]["evidence"]


def test_a_large_result_is_kept_apart_and_found_whole(here: Here) -> None:
    task = here.does("printf 'word%.0s ' $(seq 1000); echo end", "quill")
    run = task["runs"][0]
    assert (run["result"], run["result_bytes"]) == ("word " * 1000 + "end", 5003) and len(run["result_blob"]) == 64
    assert here.run("state", "get", f"task:{task['id']}:result", "--raw").stdout.strip().endswith("word end")
