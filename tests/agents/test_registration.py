"""Registration: the program, its form by version, its modes, and the resources are there, or it says what is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from maestro.agents import probe
from maestro.agents.definitions import Definition, built_in, load, parse
from maestro.agents.machine import cores, memory_bytes
from maestro.agents.registration import Site, notices, resolve
from maestro.model.errors import Invalid, MaestroError, Refused
from tests.agents.kilos import HISTORICAL, MUTE, TODAY, program, site


def kilo(folder: Path, script: str, mode: str = "code") -> Definition:
    path = program(folder / "bin/kilo", script)
    return resolve(parse(f"slug: x\nmode: {mode}\n", "x.yaml"), site(folder, MAESTRO_KILOCODE_BIN=str(path)))


def refused(definition: Definition, place: Site) -> str:
    with pytest.raises(Refused) as caught:
        resolve(definition, place)
    assert "\n" not in caught.value.line()
    assert caught.value.mend
    return caught.value.line()


def test_a_kilo_of_today_is_driven_by_its_run_command_with_the_prompt_on_stdin(tmp_path: Path) -> None:
    found = kilo(tmp_path, TODAY)
    assert (found.found_version, found.prompt.via, found.argv[1]) == ("7.7.7", "stdin", "run")
    assert found.executable == str(tmp_path / "bin/kilo")
    assert found.path == os.environ["PATH"]


@pytest.mark.parametrize(("script", "version"), [(HISTORICAL, "0.26.1"), (MUTE, "")])
def test_an_older_kilo_or_one_that_does_not_tell_takes_the_historical_form(
    tmp_path: Path, script: str, version: str
) -> None:
    found = kilo(tmp_path, script, mode="anything")
    assert found.found_version == version
    assert found.argv == ("{bin}", "{mode}", "{prompt}", "{workspace}")
    assert (found.output.format, found.resume, found.success.final_event) == ("text", None, None)
    assert found.older == {}


def test_a_resolved_definition_is_recorded_and_resolves_to_itself(tmp_path: Path) -> None:
    found = kilo(tmp_path, HISTORICAL)
    assert Definition.from_dict(found.to_dict()) == found


@pytest.mark.parametrize("mode", ["code", "plan", "architect"])
def test_a_mode_that_the_program_lists_is_accepted_also_by_our_name_for_it(tmp_path: Path, mode: str) -> None:
    assert kilo(tmp_path, TODAY, mode).mode == mode


@pytest.mark.parametrize("mode", ["cod", "helper", "summary", "ask"])
def test_a_mode_that_the_program_does_not_list_is_invalid(tmp_path: Path, mode: str) -> None:
    with pytest.raises(Invalid, match=f"has no mode {mode}"):
        kilo(tmp_path, TODAY, mode)


def test_modes_that_cannot_be_listed_are_those_of_the_adapter(tmp_path: Path) -> None:
    script = 'if [ "$1" = --version ]; then echo 7.1.0; else exit 1; fi\n'
    assert kilo(tmp_path, script, "debug").mode == "debug"
    with pytest.raises(Invalid, match="did you mean 'debug'"):
        kilo(tmp_path, script, "debgu")


def test_a_program_that_is_not_there_says_where_it_was_looked_for_and_how_to_set_it(tmp_path: Path) -> None:
    definition = built_in("kilo")
    line = refused(definition, site(tmp_path, MAESTRO_KILOCODE_BIN="/nowhere/kilo"))
    assert "looked at /nowhere/kilo" in line
    assert "set MAESTRO_KILOCODE_BIN to its path" in line
    line = refused(definition, site(tmp_path, PATH="/nowhere"))
    assert "${MAESTRO_KILOCODE_BIN} (not set), /usr/local/bin/kilo, kilo on PATH" in line


def test_a_variable_that_is_set_is_used_exactly_and_nothing_else(tmp_path: Path) -> None:
    program(tmp_path / "bin/kilo", HISTORICAL)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    refused(built_in("kilo"), site(tmp_path, PATH=path, MAESTRO_KILOCODE_BIN="/nowhere/kilo"))
    refused(built_in("kilo"), site(tmp_path, PATH=path, MAESTRO_KILOCODE_BIN=str(tmp_path)))
    (tmp_path / "plain").write_text("not executable")
    refused(built_in("kilo"), site(tmp_path, PATH=path, MAESTRO_KILOCODE_BIN="plain"))


def test_programs_are_found_on_the_callers_path_and_relative_to_its_folder(tmp_path: Path) -> None:
    place = program(tmp_path / "bin/kilo", HISTORICAL)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    by_name = parse("slug: x\nmode: m\nbin: kilo\n", "x.yaml")
    assert resolve(by_name, site(tmp_path, PATH=path)).executable == str(place)
    relative = site(tmp_path, MAESTRO_KILOCODE_BIN="./bin/kilo")
    assert resolve(built_in("kilo"), relative).executable == str(place)


def test_the_shell_works_out_of_the_box(tmp_path: Path) -> None:
    found = resolve(load("shell", []), site(tmp_path))
    assert (found.executable, found.mode) == ("/bin/sh", "")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("workspace_template: /nowhere", "workspace_template /nowhere does not exist"),
        ("workspace_template: /etc/passwd", "workspace_template /etc/passwd is no folder"),
        ("secrets_dir: /nowhere", "secrets_dir /nowhere does not exist"),
        ("shared_cache: /nowhere", "shared_cache /nowhere does not exist"),
        ("resources: {memory: 900T}", "resource_limits.memory asks for"),
        ("resources: {cpu: 9999}", "resource_limits.cpu asks for 9999 cores, this machine has"),
        ("resources: {disk: 900T}", "resource_limits.disk asks for"),
        ("resources: {pids: 999999999}", "resource_limits.pids asks for"),
        ("bin: /nowhere/agent", "looked at /nowhere/agent; install it, or correct `bin`"),
    ],
)
def test_what_is_not_there_or_cannot_be_done_is_refused_and_never_ignored(tmp_path: Path, keys: str, said: str) -> None:
    definition = parse(f"slug: x\nadapter: shell\n{keys}\n", str(tmp_path / "x.yaml"))
    assert said in refused(definition, site(tmp_path))


def test_resources_that_are_there_are_accepted(tmp_path: Path) -> None:
    memory = (memory_bytes() or 1024**3) // 2
    text = f"slug: x\nadapter: shell\nresources: {{memory: {memory}, cpu: {cores()}, disk: 1K}}\n"
    found = resolve(parse(text, str(tmp_path / "x.yaml")), site(tmp_path))
    assert notices(found) == notices(built_in("shell")) == []


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ("gemini", "tells what it used at the end only, so its budget cannot stop it in time"),
        ("codex", "at the end only"),
        ("shell", "does not tell what it uses"),
        ("claude", ""),
        ("aider", ""),
    ],
)
def test_a_budget_that_cannot_stop_a_run_in_time_is_said(adapter: str, said: str) -> None:
    told = notices(parse(f"slug: x\nadapter: {adapter}\nbudget: {{tokens: 50}}\n", "x.yaml"))
    assert [said in line for line in told] == ([True] if said else []), told


def test_a_version_that_is_too_old_is_refused_where_there_is_no_older_form(tmp_path: Path) -> None:
    place = program(tmp_path / "agent", "echo 1.2.3\n")
    text = f"slug: x\nadapter: shell\nbin: {place}\nversion: {{argv: ['{{bin}}', '-V'], min: '1.10'}}\n"
    assert "version 1.2.3 is older than 1.10" in refused(parse(text, "x.yaml"), site(tmp_path))


@pytest.mark.parametrize(
    ("found", "least", "older"),
    [("7.0", "7.0", False), ("6.9.9", "7.0", True), ("10.0.1", "7.0", False), ("", "7.0", True), ("1.9", "1.10", True)],
)
def test_versions_are_compared_by_their_numbers(found: str, least: str, older: bool) -> None:
    assert probe.is_older(found, least) is older


def test_a_program_that_never_answers_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.5)
    children = tmp_path / "children"
    found = kilo(tmp_path, f"sleep 600 & echo $! >> {children}\nsleep 600\n")
    assert found.found_version == ""
    assert all(_is_gone(int(pid)) for pid in children.read_text().split())


def test_a_program_that_leaves_a_child_with_its_output_does_not_hold_the_caller(tmp_path: Path) -> None:
    children = tmp_path / "children"
    found = kilo(tmp_path, f"sleep 600 & echo $! >> {children}\necho 0.3.4\n")
    assert found.found_version == "0.3.4"
    assert all(_is_gone(int(pid)) for pid in children.read_text().split())


def test_a_program_that_floods_is_cut(tmp_path: Path) -> None:
    assert kilo(tmp_path, "yes\n").found_version == ""


def test_a_program_that_reads_its_input_finds_it_empty_and_sees_little_of_the_environment(tmp_path: Path) -> None:
    place = program(tmp_path / "kilo", "cat; env; pwd\n")
    env = {"PATH": os.environ["PATH"], "MAESTRO_REDIS_URL": "redis://secret", "OTHER_SECRET": "x"}
    answer = probe.ask([str(place)], built_in("kilo"), env)
    assert answer.exit_code == 0
    assert "secret" not in answer.text.lower()
    assert "maestro-probe-" in answer.text


def test_a_program_that_cannot_start_gives_no_answer(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o755)
    assert probe.ask([str(broken)], built_in("kilo"), {}).exit_code is None


def test_an_error_of_a_program_with_an_odd_name_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(MaestroError) as caught:
        resolve(built_in("kilo"), site(tmp_path, MAESTRO_KILOCODE_BIN="/no\nwhere\x1b[2J"))
    assert "\n" not in caught.value.line()


def _is_gone(pid: int) -> bool:
    """Killed processes may stay as zombies for a moment until their new parent reaps them."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False
