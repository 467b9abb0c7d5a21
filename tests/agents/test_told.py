"""What `agent types` tells of a definition: where its keys come from, and what a run would lack."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from maestro.agents import adapters, machine, probe, provenance
from maestro.agents.definitions import Definition, load, parse
from maestro.agents.registration import differences, resolve
from maestro.model.errors import Invalid
from tests.agents.kilos import HISTORICAL, program, site


def origins(folder: Path, slug: str) -> dict[str, str]:
    return provenance.explain(slug, [folder]).origins


def test_each_key_is_told_with_the_line_or_the_adapter_that_gives_it(tmp_path: Path) -> None:
    (tmp_path / "upper.yaml").write_text(
        'slug: upper\nadapter: middle\nenv: {A: "1"}\nsuccess:\n  final_event: {type: z}\n'
    )
    (tmp_path / "middle.yaml").write_text("name: middle\nadapter: claude\nresources:\n  memory: 1G\n")
    told = origins(tmp_path, "upper")
    assert told["env.A"] == f"{tmp_path}/upper.yaml:3"
    assert told["success.final_event.type"] == f"{tmp_path}/upper.yaml:5"
    assert told["resource_limits.memory"] == f"{tmp_path}/middle.yaml:4"
    assert told["resource_limits.cpu"] == "default"
    lines = adapters.text("claude").decode().splitlines()
    for key in ("argv", "bin", "resume"):
        (line,) = (at for at, text in enumerate(lines, 1) if text.startswith(f"{key}:"))
        assert told[key if key != "resume" else "resume.args"] == f"adapter claude, line {line}"
    assert told["mode"] == f"{told['modes.default']} (modes.default)"
    assert "success.final_event.is_error" not in told  # a match is replaced as a whole


def test_rules_that_another_format_drops_are_not_told_as_the_adapters(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("slug: plain\noutput: {format: text}\nargv: ['{bin}', '{prompt}']\n")
    told = origins(tmp_path, "plain")
    assert (told["output.text"], told["success.final_event"], told["resume"]) == ("default",) * 3
    assert told["prompt.via"] == f"{tmp_path}/plain.yaml:3 (as argv has it)"


@pytest.mark.parametrize("name", adapters.names())
def test_what_is_shown_is_a_file_that_means_the_same(name: str) -> None:
    shown = provenance.commented(msgspec.to_builtins(provenance.explain(name, [])))
    again, first = parse("\n".join(shown), "shown.yaml"), load(name, [])
    differ = {key for key in Definition.__struct_fields__ if getattr(again, key) != getattr(first, key)}
    assert differ <= {"source", "older"}


def lacks(keys: str, folder: Path, **env: str) -> list[str]:
    return machine.unmet(parse(f"slug: x\n{keys}", "x.yaml"), {"HOME": str(folder), **env})


def test_a_secret_that_is_not_there_is_told_before_a_run_fails(tmp_path: Path) -> None:
    keys = "adapter: shell\nsecret_env: [TOKEN]\n"
    assert lacks(keys, tmp_path) == [
        "secret TOKEN of type x is not there; set TOKEN where the daemon starts, or name a secrets_dir"
    ]
    assert lacks(keys, tmp_path, TOKEN="t") == []


@pytest.mark.parametrize(
    ("user", "mode", "env", "is_told"),
    [
        (0, "code", "{}", True),
        (0, "acceptEdits", "{}", False),
        (0, "code", '{IS_SANDBOX: "1"}', False),
        (1000, "code", "{}", False),
    ],
)
def test_claude_as_root_is_told_unless_it_may_break_things(
    tmp_path: Path, user: int, mode: str, env: str, is_told: bool
) -> None:
    (tmp_path / ".claude.json").write_text("{}")
    definition = parse(f"slug: x\nadapter: claude\nmode: {mode}\nenv: {env}\n", "x.yaml")
    told = machine.unmet(definition, {"HOME": str(tmp_path)}, user)
    assert bool(told) == is_told and all("it would run as root, IS_SANDBOX is not set; as root" in one for one in told)


def test_a_login_that_is_not_there_is_told_with_what_would_do(tmp_path: Path) -> None:
    (told,) = lacks("adapter: gemini\n", tmp_path)
    assert told.startswith("the run gets none of GEMINI_API_KEY, ") and "there is no ~/.gemini/settings.json" in told
    (told,) = lacks("adapter: gemini\n", tmp_path, GEMINI_API_KEY="k")
    assert "GEMINI_API_KEY is set, but the run does not get it (`secret_env: [GEMINI_API_KEY]`)" in told
    assert lacks("adapter: gemini\nsecret_env: [GEMINI_API_KEY]\n", tmp_path, GEMINI_API_KEY="k") == []
    assert lacks("adapter: gemini\nsecret_env: [GOOGLE_API_KEY]\n", tmp_path, GOOGLE_API_KEY="k")
    url = {
        "GEMINI_API_KEY": "k",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1",
    }  # it ends with 41 without its settings
    (told,) = lacks("adapter: gemini\nsecret_env: [GEMINI_API_KEY]\n", tmp_path, **url)
    assert told.startswith("with GOOGLE_GEMINI_BASE_URL, there is no ~/.gemini/settings.json; write {")
    files = "files: [{path: '{home}/.gemini/settings.json', content: '{}'}]\n"
    assert lacks(f"adapter: gemini\nsecret_env: [GEMINI_API_KEY]\n{files}", tmp_path, **url) == []
    (tmp_path / ".gemini").mkdir()
    (tmp_path / ".gemini/settings.json").write_text("{}")
    assert lacks("adapter: gemini\n", tmp_path) == []
    assert lacks("adapter: qwen\nrequires: []\n", tmp_path) == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{mend: x}", "requires[0]: has no condition"),
        ("{mend: x, env: [1A]}", "is no name of a variable"),
        ("{mend: x, env: [A], given: [1A]}", "requires[0].given[0]: 1A is no name of a variable"),
        ("{mend: x, files: [a]}", "begin it with ~/ or /"),
        ("{env: [A]}", "key 'mend' is missing"),
    ],
)
def test_a_requirement_that_cannot_be_right_is_refused(rule: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(f"slug: x\nrequires: [{rule}]\n", "x.yaml")
    assert said in caught.value.line()


PARSER = f"""exec {sys.executable} -c '
import argparse
parser = argparse.ArgumentParser(prog="parser")
parser.add_argument("--message-file", required=True)
parser.add_argument("--model")
parser.parse_args()
open("{{worked}}", "w")' "$@"
"""


def test_arguments_that_the_program_refuses_are_told_without_any_work(tmp_path: Path) -> None:
    path = program(tmp_path / "parser", PARSER.format(worked=tmp_path / "worked"))
    keys = f"slug: x\nbin: {path}\nadapter: none\nmode: code\ntrial: [--help]\n"

    def said(argv: str) -> probe.Refusal | None:
        return tried(f"{keys}argv: {argv}\n", tmp_path)

    assert said("['{bin}', --model, small, --message-file, '{prompt_file}']") is None
    told = said("['{bin}', --message-file, --model, small, '{prompt_file}']")  # an option in the place of a value
    assert told is not None and told.text.endswith("error: argument --message-file: expected one argument")
    assert told.is_certain
    assert said("['{bin}', --message-file, '{prompt_file}', --]") is None  # behind which --help would be a word
    assert not (tmp_path / "worked").exists()


def tried(keys: str, folder: Path) -> probe.Refusal | None:
    definition = resolve(parse(keys, "x.yaml"), site(folder))
    return probe.refusal(definition, definition.executable, {"PATH": "/bin:/usr/bin", "HOME": str(folder)})


def test_a_trial_finds_what_a_run_would_and_what_it_lacks_is_no_certain_refusal(tmp_path: Path) -> None:
    looks = f'test -f "$1" && test "$2" = {tmp_path}/.rc && test "$CONFIG" = "$1" && exit 0\n'
    looks += 'echo "not so: $* $CONFIG"; exit 1\n'
    keys = (
        f"slug: x\nbin: {program(tmp_path / 'looks', looks)}\nadapter: none\ntrial: [--help]\n"
        "argv: ['{bin}', '{tmp}/c.json', '{home}/.rc', '{prompt}']\n"
        "env: {CONFIG: '{tmp}/c.json'}\n"
    )
    files = "files: [{path: '{tmp}/c.json', content: x}, {path: '{home}/.rc', content: x}]\n"
    assert tried(keys + files, tmp_path) is None
    assert not (tmp_path / ".rc").exists()
    told = tried(keys, tmp_path)  # as a wrapper does that wants a secret, which a trial does not have
    assert told is not None and told.text.startswith("not so: ") and not told.is_certain


def test_the_trial_of_an_adapter_is_for_its_own_command_line_only(tmp_path: Path) -> None:
    assert parse("slug: x\nadapter: codex\n", "x.yaml").trial == ("--help",)
    (tmp_path / "y.yaml").write_text("slug: y\nadapter: codex\nargv: ['{bin}', work, '{prompt}']\n")
    assert load("y", [tmp_path]).trial == ()
    assert origins(tmp_path, "y")["trial"] == f"{tmp_path}/y.yaml:3 (as argv has it)"


def test_a_file_that_is_an_adapter_only_is_told_with_its_lines(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("slug: base\nadapter: none\nbin: /bin/sh\n")  # no type: it has no argv
    (tmp_path / "top.yaml").write_text("slug: top\nadapter: base\nargv: ['{bin}', '{prompt}']\n")
    assert origins(tmp_path, "top")["bin"] == f"{tmp_path}/base.yaml:3"


def test_what_binds_a_definition_or_what_no_run_reads_is_no_difference(tmp_path: Path) -> None:
    path = program(tmp_path / "kilo", HISTORICAL)
    text = f"slug: x\nmode: code\nbin: {path}\n"
    recorded = resolve(parse(text, "x.yaml"), site(tmp_path))  # in the older form
    assert differences(recorded, parse(text, "x.yaml")) == []
    assert differences(recorded, parse(text + "requires: [{env: [A], mend: set it}]\n", "x.yaml")) == []
    assert differences(recorded, parse(text + 'env: {A: "1"}\nargs: [-v]\n', "x.yaml")) == ["args", "env"]
