"""Launches: the prompt arrives exact and is never an option; the environment is what the allow-list lets through."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from maestro.agents import secrets
from maestro.agents.adapters import names
from maestro.agents.definitions import Definition, built_in, parse
from maestro.agents.launch import Launch, Target, compose, delivered, prompt_bytes
from maestro.agents.registration import resolve
from maestro.model.errors import Refused
from tests.agents.kilos import HISTORICAL, TODAY, program, site

DAEMON = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/home/u",
    "LANG": "C.UTF-8",
    "LC_TIME": "C",
    "MAESTRO_REDIS_URL": "redis://secret@store",
    "MAESTRO_HOME": "/home/u/.local/state/maestro",
    "AWS_SECRET_ACCESS_KEY": "aws",
    "GIT_AUTHOR_NAME": "me",
    "TMPDIR": "/var/tmp",
}


def resolved(text: str = "adapter: shell\n", executable: str = "/bin/agent", older: bool = False) -> Definition:
    definition = parse("slug: x\n" + text, "x.yaml")
    definition = definition.older_form() if older else definition
    return Definition.from_dict({**definition.to_dict(), "executable": executable})


def target(prompt: str = "do it", **changes: object) -> Target:
    fields: dict[str, object] = {
        "run": "t1-0.1",
        "task": "t1",
        "agent": "a",
        "token": "42",
        "prompt": prompt,
        "prompt_file": "/runs/a/t1/prompt.txt",
        "workspace": "/work space/ws",
        "tmp": "/runs/a/t1/tmp",
        "socket": "/home/runs/s",
        "environment": DAEMON,
        **changes,
    }
    return Target(**fields)  # type: ignore[arg-type]


def historical(prompt: str) -> Launch:
    return compose(resolved("mode: code\n", older=True), target(prompt))


def test_the_historical_form_is_mode_prompt_and_workspace() -> None:
    launch = historical('Review "this"; $(rm -rf /)\nand é')
    assert launch.argv == ("/bin/agent", "code", 'Review "this"; $(rm -rf /)\nand é', "/work space/ws")
    assert (launch.stdin, launch.cwd) == (None, "/work space/ws")


def test_todays_form_takes_the_prompt_on_stdin() -> None:
    launch = compose(resolved("mode: architect\n"), target("- [ ] x"))
    options = ("--format", "json", "--dir", "/work space/ws", "--agent", "plan")
    assert launch.argv == ("/bin/agent", "run", "--auto", *options)
    assert launch.stdin == "/runs/a/t1/prompt.txt"


RESUMING = "adapter: shell\noutput: {session: ['id (.*)']}\nresume: "


@pytest.mark.parametrize(
    ("resume", "argv"),
    [
        ("{args: [--on, '{session}']}", ("/bin/agent", "-m", "x", "--on", "s1", "/runs/a/t1/prompt.txt", "-q")),
        (
            "{args: [--on, '{session}'], before: start}",
            ("/bin/agent", "--on", "s1", "-m", "x", "/runs/a/t1/prompt.txt", "-q"),
        ),
        (
            "{args: [--on, '{session}'], before: end}",
            ("/bin/agent", "-m", "x", "/runs/a/t1/prompt.txt", "-q", "--on", "s1"),
        ),
        (
            "{args: [--on, '{session}'], before: -q}",
            ("/bin/agent", "-m", "x", "/runs/a/t1/prompt.txt", "--on", "s1", "-q"),
        ),
        ("{argv: ['{bin}', again, '{session}']}", ("/bin/agent", "again", "s1")),
    ],
)
def test_a_session_is_gone_on_with_where_the_adapter_puts_it(resume: str, argv: tuple[str, ...]) -> None:
    given = "argv: ['{bin}', '{prompt_file}', -q]\nargs: [-m, x]\n"
    definition = resolved(f"{RESUMING}{resume}\n{given}")
    assert compose(definition, target(session="s1")).argv == argv
    assert compose(definition, target()).argv == ("/bin/agent", "-m", "x", "/runs/a/t1/prompt.txt", "-q")


@pytest.mark.parametrize(
    ("keys", "argv"),
    [
        ("argv: ['{bin}', --file, '{prompt_file}', -q]", ("-m", "x", "--file", "/runs/a/t1/prompt.txt", "-q")),
        ("argv: ['{bin}', --, '{prompt_file}']", ("-m", "x", "--", "/runs/a/t1/prompt.txt")),
        ("argv: ['{bin}', -q, v, '{prompt_file}']", ("-q", "v", "-m", "x", "/runs/a/t1/prompt.txt")),
        ("argv: ['{bin}', '{prompt_file}', -q]\nargs_before: end", ("/runs/a/t1/prompt.txt", "-q", "-m", "x")),
        (
            "argv: ['{bin}', --c, v, '{prompt_file}']\nargs_before: --c",
            ("-m", "x", "--c", "v", "/runs/a/t1/prompt.txt"),
        ),
        ("argv: ['{bin}', c, '{prompt_file}']\nargs_before: start", ("-m", "x", "c", "/runs/a/t1/prompt.txt")),
    ],
)
def test_more_arguments_never_come_between_an_option_and_its_value(keys: str, argv: tuple[str, ...]) -> None:
    assert compose(resolved(f"adapter: shell\nargs: [-m, x]\n{keys}\n"), target()).argv == ("/bin/agent", *argv)


def test_more_arguments_of_each_built_in_adapter_stand_before_an_option_or_the_prompt() -> None:
    for name in names():
        argv = compose(resolved(f"adapter: {name}\nargs: [--model, x]\n"), target(session="s1")).argv
        at = argv.index("--model")
        assert argv[at - 1][:1] != "-" or argv[at - 1] in ("--no-analytics", "--auto"), argv
    assert compose(resolved("adapter: aider\nargs: [--model, x]\n"), target()).argv[1:4] == (
        "--model",
        "x",
        "--message-file",
    )


def test_a_session_without_an_id_is_gone_on_with_by_the_arguments_alone() -> None:
    definition = resolved("adapter: shell\nresume: {args: [--last]}\n")
    assert compose(definition, target(session="latest")).argv == ("/bin/agent", "--last", "/runs/a/t1/prompt.txt")
    assert compose(definition, target()).argv == ("/bin/agent", "/runs/a/t1/prompt.txt")


@pytest.mark.parametrize("first", ["/", "!", "@", "#", "-", "x", " ", ""])
def test_a_prompt_is_never_a_command_of_the_agents_own(first: str) -> None:
    prompt = f"{first}deploy é".encode()
    for name, commands in {"aider": "/!", "claude": "/", "gemini": "/", "qwen": "/", "codex": "", "shell": ""}.items():
        guard = b"\n" if first and first in commands else b""
        assert delivered(built_in(name), prompt) == guard + prompt
    signs = parse("slug: x\nadapter: shell\nprompt: {commands: '›/'}\n", "x.yaml")
    assert [delivered(signs, word.encode()) for word in ("›a", "/a", "»a", "")] == [
        b"\n\xe2\x80\xbaa",
        b"\n/a",
        "»a".encode(),
        b"",
    ]
    words = "adapter: shell\nargv: ['{bin}', '{prompt}']\nprompt: {commands: '/', guard: 'Do this: '}\n"
    sent = compose(resolved(words), target(prompt.decode())).argv[1]
    assert sent == {"/": "Do this: ", "-": "\n"}.get(first, "") + prompt.decode()
    assert delivered(built_in("aider"), b"") == b""


def test_placeholders_are_filled_wherever_they_are_in_variables_and_files() -> None:
    text = (
        "adapter: shell\nenv: {A: 'a:{workspace}/x:{tmp}', B: '{{workspace}} {no}'}\n"
        'files: [{path: \'{tmp}/c.json\', content: \'{"dir": "{workspace}", "say": "{{prompt}} {mode}"}\'}]\nmode: m\n'
    )
    launch = compose(resolved(text), target())
    assert (launch.env["A"], launch.env["B"]) == ("a:/work space/ws/x:/runs/a/t1/tmp", "{{workspace}} {no}")
    assert launch.files[0].content == '{"dir": "/work space/ws", "say": "{{prompt}} m"}'


def test_kilo_and_codex_go_on_with_their_sessions_before_the_prompt() -> None:
    launch = compose(resolved("mode: code\n"), target(session="ses_1"))
    assert launch.argv[-4:] == ("--agent", "code", "--session", "ses_1")
    launch = compose(resolved("adapter: codex\n"), target("more", session="0199-a"))
    assert launch.argv[-5:] == ("-s", "workspace-write", "resume", "0199-a", "-")
    assert launch.stdin == "/runs/a/t1/prompt.txt"


def test_paths_below_a_placeholder_are_filled_in_arguments_and_variables() -> None:
    text = "adapter: shell\nargs: [--config, '{tmp}/c.json']\nenv: {A: '{home}/.x', B: '{workspace}', C: '{a}/b'}\n"
    launch = compose(resolved(text), target())
    assert launch.argv == ("/bin/agent", "--config", "/runs/a/t1/tmp/c.json", "/runs/a/t1/prompt.txt")
    assert [launch.env[name] for name in ("A", "B", "C")] == ["/home/u/.x", "/work space/ws", "{a}/b"]


def test_what_verifies_a_run_is_the_tasks_command_else_the_types() -> None:
    assert compose(resolved(), target()).verify == ()
    assert compose(resolved("adapter: shell\nverify: make test\n"), target()).verify == ("/bin/sh", "-c", "make test")
    listed = "adapter: shell\nverify: [check, '{workspace}']\n"
    assert compose(resolved(listed), target()).verify == ("check", "/work space/ws")
    assert compose(resolved(listed), target(verify="true")).verify == ("/bin/sh", "-c", "true")


def test_the_shell_gets_the_prompt_as_a_file() -> None:
    launch = compose(resolved(), target("-c 'exit 3'"))
    assert (launch.argv, launch.stdin) == (("/bin/agent", "/runs/a/t1/prompt.txt"), None)


@pytest.mark.parametrize("prompt", ["- [ ] x", "--help", "-"])
def test_a_prompt_that_begins_with_a_dash_is_no_option_in_the_historical_form(prompt: str) -> None:
    assert historical(prompt).argv[2] == "\n" + prompt


@pytest.mark.parametrize("prompt", ["x" * (10 * 1024 * 1024), "é" * 60_000, "a\0b"])
def test_a_prompt_that_no_argument_can_hold_is_left_in_its_file(prompt: str) -> None:
    argument = historical(prompt).argv[2]
    assert "/runs/a/t1/prompt.txt" in argument
    assert len(argument) < 300


@pytest.mark.parametrize("prompt", ["x" * 200_000, "a\0b", "- [ ] x"])
def test_where_the_program_reads_stdin_such_a_prompt_goes_there(prompt: str) -> None:
    text = "mode: code\nargv: ['{bin}', '{prompt}', '{mode}']\nprompt: {otherwise: stdin}\n"
    launch = compose(resolved(text), target(prompt))
    assert (launch.argv, launch.stdin) == (("/bin/agent", "code"), "/runs/a/t1/prompt.txt")
    assert compose(resolved(text), target("short")).argv == ("/bin/agent", "short", "code")


@settings(deadline=None)
@given(st.text(max_size=300), st.sampled_from(["older", "today", "shell"]))
def test_no_prompt_becomes_an_option_or_more_than_one_argument(prompt: str, form: str) -> None:
    text = "adapter: shell\n" if form == "shell" else "mode: code\n"
    definition = resolved(text, older=form == "older")
    plain, launch = compose(definition, target("plain")), compose(definition, target(prompt))
    assert len(launch.argv) == len(plain.argv)
    differs = [word for word, other in zip(launch.argv, plain.argv, strict=True) if word != other]
    assert not [word for word in differs if word.startswith("-") or "\0" in word]
    assert all(prompt in word for word in differs if "\0" not in prompt)


def test_a_prompt_with_placeholders_stays_text() -> None:
    assert historical("{workspace} {prompt}").argv[2] == "{workspace} {prompt}"
    assert historical("{workspace}").argv[2] == "{workspace}"


def test_the_environment_is_an_allow_list_without_the_store() -> None:
    env = compose(resolved("adapter: shell\nenv: {A: b}\nenv_inherit: [GIT_AUTHOR_NAME]\n"), target()).env
    assert env == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/home/u",
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "GIT_AUTHOR_NAME": "me",
        "A": "b",
        "TMPDIR": "/runs/a/t1/tmp",
        "MAESTRO_TASK_ID": "t1",
        "MAESTRO_AGENT_ID": "a",
        "MAESTRO_WORKSPACE": "/work space/ws",
        "MAESTRO_RUN_ID": "t1-0.1",
        "MAESTRO_RUN_TOKEN": "42",
        "MAESTRO_RUN_SOCKET": "/home/runs/s",
    }


def test_a_run_is_told_what_it_may_delegate_where_it_may() -> None:
    env = compose(resolved("adapter: shell\ndelegate: {to: [w], max: 3}\n"), target()).env
    assert env["MAESTRO_DELEGATE"] == '{"to":["w"],"depth":1,"max":3}'


def test_the_path_of_the_one_who_assigned_is_kept(tmp_path: Path) -> None:
    place = program(tmp_path / "kilo", TODAY)
    found = resolve(parse("slug: x\nmode: code\n", "x.yaml"), site(tmp_path, MAESTRO_KILOCODE_BIN=str(place)))
    assert compose(found, target()).env["PATH"] == os.environ["PATH"]


def test_files_lie_below_the_folders_they_name() -> None:
    text = "adapter: shell\nfiles: [{path: '{tmp}/a/x.json', content: '{}', mode: '0640'}]\n"
    (file,) = compose(resolved(text), target()).files
    assert (file.path, file.content, file.mode) == ("/runs/a/t1/tmp/a/x.json", "{}", 0o640)


def test_a_definition_without_a_program_is_refused() -> None:
    with pytest.raises(Refused, match="maestro agent register shell"):
        compose(built_in("shell"), target())


def test_secrets_come_by_name_from_files_then_the_environment_and_are_listed_for_redaction(tmp_path: Path) -> None:
    (tmp_path / "FROM_FILE").write_text("file-secret\n")
    text = f"adapter: shell\nsecret_env: [FROM_FILE, FROM_ENV]\nsecrets_dir: {tmp_path}\n"
    definition = resolved(text)
    found = secrets.resolve(definition, {"FROM_FILE": "not this", "FROM_ENV": "env-secret"})
    launch = compose(definition, target(secrets=found))
    assert launch.env["FROM_FILE"] == "file-secret"
    assert launch.redact == ("env-secret", "file-secret")
    assert not [value for value in found.values() if value in str(definition.to_dict())]


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a\0b", b"x" * 70_000])
def test_a_secret_that_is_missing_or_no_text_is_refused_without_its_value(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "KEY").write_bytes(content)
    with pytest.raises(Refused) as caught:
        secrets.resolve(resolved(f"adapter: shell\nsecret_env: [KEY]\nsecrets_dir: {tmp_path}\n"), {})
    assert "xxx" not in caught.value.line()


def test_a_secret_that_is_a_pipe_does_not_hold_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "KEY")
    with pytest.raises(Refused, match="no regular file"):
        secrets.resolve(resolved(f"adapter: shell\nsecret_env: [KEY]\nsecrets_dir: {tmp_path}\n"), {})


def test_prompts_keep_bytes_that_were_no_utf8() -> None:
    assert prompt_bytes("é") == b"\xc3\xa9"
    assert prompt_bytes(b"\xff".decode("utf-8", "surrogateescape")) == b"\xff"
    assert prompt_bytes("\ud800") == b"?"


@pytest.mark.parametrize("prompt", ["- [ ] x", 'quo"te $HOME `id` é\n\tend', "x" * 300_000])
@pytest.mark.parametrize("script", [HISTORICAL, TODAY])
def test_a_real_program_receives_the_prompt(tmp_path: Path, prompt: str, script: str) -> None:
    say = 'printf "%s" "$2"' if script == HISTORICAL else "cat"
    place = program(tmp_path / "kilo", script.replace("exit 9", say))
    found = resolve(parse("slug: x\nmode: code\n", "x.yaml"), site(tmp_path, MAESTRO_KILOCODE_BIN=str(place)))
    file = tmp_path / "prompt.txt"
    file.write_bytes(prompt_bytes(prompt))
    launch = compose(found, target(prompt, prompt_file=str(file), workspace=str(tmp_path)))
    with open(launch.stdin or os.devnull, "rb") as stdin:
        done = subprocess.run(launch.argv, env=launch.env, cwd=launch.cwd, stdin=stdin, capture_output=True, check=True)
    said = done.stdout.decode()
    if script == HISTORICAL and len(prompt) > 100_000:
        assert str(file) in said
    else:
        assert said.removeprefix("\n") == prompt


def test_the_place_in_a_trace_is_the_runs_own_unless_a_user_sets_another() -> None:
    daemon = {**DAEMON, "TRACEPARENT": "of-the-daemon", "TRACESTATE": "of-the-daemon"}
    inherits = "adapter: shell\nenv_inherit: [TRACEPARENT, TRACESTATE]\n"
    mine = {"environment": daemon, "traceparent": "of-the-run"}
    env = compose(resolved(inherits), target(**mine)).env
    assert (env["TRACEPARENT"], env.get("TRACESTATE")) == ("of-the-run", None)
    of_type = resolved(inherits + "env: {TRACEPARENT: of-the-type, TRACESTATE: x}\n")
    env = compose(of_type, target(**mine)).env
    assert (env["TRACEPARENT"], env["TRACESTATE"]) == ("of-the-type", "x")
    assert (
        compose(of_type, target(**mine, variables={"TRACEPARENT": "of-the-step"})).env["TRACEPARENT"] == "of-the-step"
    )
