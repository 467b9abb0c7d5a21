"""Bad input, command by command: one line, the right exit code, and nothing is asked of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from maestro.cli.app import GROUPS
from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

DISPATCH = ("task", "dispatch", "do it", "--to", "a")

EVERY = ("schedule", "add", "n", "--cron", "* * * * *", "--")

BAD: list[tuple[tuple[str, ...], str]] = [
    (("bogus",), "no such command 'bogus'"),
    (("--bogus",), "no such option '--bogus'"),
    (("agent", "bogus"), "no such command 'bogus'"),
    (("agent", "register", "x", "--file", "y"), "both a type and --file"),
    (("agent", "assign"), "missing argument 'TYPE'"),
    (("agent", "assign", "x", "--priority", "0"), "0 is not from 1 to 5"),
    (("agent", "assign", "x", "--priority", "6"), "6 is not from 1 to 5"),
    (("agent", "assign", "x", "--priority", "high"), "'high' is no whole number"),
    (("agent", "assign", "x", "--to-workspace", ""), "'' is no path"),
    (("agent", "assign", "x", "--to-workspace", "/tmp/a\nb"), "is no path"),
    (("agent", "assign", "x", "--to-workspace", "~nobody-of-that-name/w"), "~nobody-of-that-name/w"),
    (("agent", "list", "--status", "asleep"), "'asleep' is not one of"),
    (("agent", "list", "--format", "xml"), "'xml' is not one of"),
    (("agent", "list", "extra"), "unexpected extra argument"),
    (
        (
            "agent",
            "health",
        ),
        "missing argument 'ID'",
    ),
    (("agent", "health", "a", "--log-lines", "-1"), "-1 is not from 0 to 100000"),
    (("agent", "stop"), "missing argument 'ID'"),
    (("agent", "restart"), "missing argument 'ID'"),
    (("agent", "reset"), "missing argument 'ID'"),
    (("agent", "logs", "a", "--lines", "x"), "'x' is no whole number"),
    (("agent", "types", "x"), "unexpected extra argument"),
    (("monitor", "start", "--interval", "0"), "'0' is no duration above 0"),
    (("monitor", "start", "--interval", "soon"), "'soon' is no duration"),
    (("monitor", "start", "--metrics-port", "0"), "0 is not from 1 to 65535"),
    (("monitor", "start", "--metrics-port", "x"), "'x' is no whole number"),
    (("monitor", "start", "--once", "--metrics-port", "9464"), "both --once and --metrics-port"),
    (("monitor", "start", "extra"), "unexpected extra argument"),
    (("monitor", "alerts", "--limit", "0"), "0 is not from 1 to 100000"),
    (("monitor", "ack"), "missing argument 'ALERTS...'"),
    (("monitor", "snooze", "store:"), "missing option '--for'"),
    (("monitor", "snooze", "store:", "--for", "400d"), "'400d' is no duration"),
    (("monitor", "resend"), "missing argument 'ALERT'"),
    (("schedule", "add", "n"), "missing argument '-- COMMAND...'"),
    (("schedule", "add", "n", "--", "state", "snapshot"), "missing option '--cron'"),
    (("schedule", "add", "n", "--cron", "* * * * *", "--missed", "x", "--", "state", "snapshot"), "'x' is not one of"),
    ((*EVERY, "redis", "flush"), "`redis flush` is nothing that a schedule carries out; use state snapshot"),
    ((*EVERY, "state", "snapshot", "--rollin"), "no such option '--rollin'; did you mean --rolling?"),
    ((*EVERY, "task", "dispatch", "--to", "a", "--", ""), "the prompt is empty"),
    ((*EVERY, "task", "dispatch", "--batch", "/dev/null"), "--batch"),
    ((*EVERY, "workspace", "clean"), "missing argument 'AGENT'"),
    (("task", "dispatch"), "missing argument 'PROMPT'"),
    (("task", "dispatch", "do it"), "missing option '--to'"),
    (("task", "dispatch", "", "--to", "a"), "the prompt is empty"),
    (("task", "dispatch", " \n ", "--to", "a"), "the prompt is empty"),
    (("task", "dispatch", "do it", "--to", "a,,b"), "an empty name"),
    (("task", "dispatch", "do it", "--to", ""), "an empty name"),
    ((*DISPATCH, "--depends-on", "x,"), "an empty name"),
    ((*DISPATCH, "--sync", "--async"), "both --sync and --async"),
    ((*DISPATCH, "--timeout", "0"), "'0' is no duration above 0"),
    ((*DISPATCH, "--timeout", "-1"), "'-1' is no duration"),
    ((*DISPATCH, "--timeout", "nan"), "'nan' is no duration"),
    ((*DISPATCH, "--timeout", "inf"), "'inf' is no duration"),
    ((*DISPATCH, "--timeout", "soon"), "'soon' is no duration"),
    ((*DISPATCH, "--strict-key"), "it goes with --key or --batch"),
    ((*DISPATCH, "--key", ""), "--key: is empty"),
    (("task", "dispatch", "--batch", "x", "--batch-key", ""), "--batch-key: is empty"),
    ((*DISPATCH, "--batch-key", "b"), "it goes with --batch"),
    ((*DISPATCH, "--batch", "tasks.jsonl"), "does not go with --batch"),
    (("task", "dispatch", "--batch", "tasks.jsonl", "--sync"), "maestro task wait, with the ids that --quiet prints"),
    (("task", "dispatch", "--batch", "/"), "name a file that can be read"),
    (("task", "dispatch", "--batch", "", "--retries", "1"), "--retries does not go with --batch"),
    (("task", "result"), "missing argument 'ID'"),
    ((*DISPATCH, "--priority", "9"), "9 is not from 1 to 5"),
    ((*DISPATCH, "--retries", "-1"), "-1 is not from 0 to 100"),
    (("task", "status"), "which task?"),
    (("workflow", "status"), "which run?"),
    (("workflow", "runs", "--status", "done"), "'done' is not one of"),
    (("workflow", "runs", "--limit", "0"), "0 is not from 1 to 100000"),
    (("workflow", "wait"), "which run?"),
    (("workflow", "wait", "r,"), "an empty name"),
    (("workflow", "wait", "r", "--timeout", "soon"), "'soon' is no duration"),
    (("workflow", "logs"), "which run?"),
    (("workflow", "logs", "r", "a", "--last"), "both a run and --last"),
    (("workflow", "runs", "--last", "--waiting"), "give --limit 1"),
    (("workflow", "wait", "r", "--last"), "both runs and --last"),
    (("workflow", "stop"), "missing argument 'RUN'"),
    (("workflow", "pause"), "missing argument 'RUN'"),
    (("workflow", "resume", "r", "--add-budget", "cost"), "'cost' is no addition"),
    (("workflow", "resume", "r", "--add-budget", "cost=-1"), "'cost=-1' is no addition"),
    (("workflow", "resume", "r", "--add-budget", "tokens=1.5"), "'tokens=1.5' is no addition"),
    (("workflow", "resume", "r", "--add-budget", "cost=nan,tokens=5"), "'cost=nan' is no addition"),
    (("workflow", "resume", "r", "--add-budget", "euros=5"), "'euros=5' is no addition"),
    (("workflow", "approve", "r"), "missing argument 'STEP'"),
    (("workflow", "reject", "r"), "missing argument 'STEP'"),
    (("task", "list", "--status", "done"), "'done' is not one of"),
    ((*DISPATCH, "--budget-cost", "x"), "'x' is no number; see"),
    ((*DISPATCH, "--budget-tokens", "1.5"), "'1.5' is no whole number; see"),
    ((*DISPATCH, "--budget-tokens", "0"), "0 is below 1; see"),
    ((*DISPATCH, "--dependson", "x"), "no such option '--dependson'; did you mean --depends-on? see"),
    (("tsak", "list"), "no such command 'tsak'; did you mean `maestro task`? see `maestro --help`"),
    (("task", "lsit"), "no such command 'lsit'; did you mean `maestro task list`? see `maestro task --help`"),
    (("dispatch", "x"), "no such command 'dispatch'; did you mean `maestro task dispatch`? see `maestro --help`"),
    (("list",), "no such command 'list'; did you mean `maestro agent list`, `maestro task list`"),
    (("zzz",), "no such command 'zzz'; see `maestro --help`"),
    (("completion", "tcsh"), "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    (("ps", "x"), "unexpected extra argument"),
    (("task", "list", "--limit", "0"), "0 is not from 1 to 100000"),
    (("task", "wait"), "missing argument 'IDS...'"),
    (("task", "wait", "x", "--timeout", "-1"), "'-1' is no duration from 0 to 365d; give 90 (seconds)"),
    (("task", "wait", "x", "--timeout", "nan"), "'nan' is no duration"),
    (("task", "logs"), "missing argument 'ID'"),
    (("task", "cancel"), "missing argument 'IDS...'"),
    (("task", "retry"), "missing argument 'ID'"),
    (("state", "set", "k"), "missing argument 'VALUE'"),
    (("state", "get"), "missing argument 'KEY'"),
    (("state", "delete"), "missing argument 'KEY'"),
    (("state", "list", "a", "b"), "unexpected extra argument"),
    (("queue", "status", "--waiting", "--completed"), "both --waiting and --completed"),
    (("queue", "status", "--limit", "-3"), "-3 is not from 1 to 100000"),
    (("audit", "a", "b"), "unexpected extra argument"),
    (("events", "tail", "--from", "-1"), "-1 is not from 0 to"),
    (("events", "tail", "--from", "99999999999999999999"), "is not from 0 to"),
    (("events", "tail", "--from", "1", "--group", "g"), "both --group and --from"),
    (("events", "export", "--to", "x"), "'x' is no whole number"),
    (("events", "schema", "x"), "unexpected extra argument"),
    (("replay", "at", "12"), "missing argument 'VIEW'"),
    (("replay", "diff", "12"), "missing argument"),
    (("replay", "verify", "x"), "unexpected extra argument"),
    (("replay", "rebuild", "a", "b"), "unexpected extra argument"),
    (("fork", "--into", "two"), "missing option '--root'"),
    (("fork", "--into", "two", "--root", ""), "'' is no path"),
    (("workspace", "clean"), "missing argument 'AGENT'"),
    (("workspace", "list", "x"), "unexpected extra argument"),
    (("node", "list", "x"), "unexpected extra argument"),
    (("up", "x"), "unexpected extra argument"),
    (("worker", "--background"), "no such option '--background'"),
    (("mcp", "serve"), "serve"),
    (("shutdown", "--grace-period", "-1"), "'-1' is no duration"),
    (("shutdown", "--grace-period", "nan"), "'nan' is no duration"),
    (("doctor", "x"), "unexpected extra argument"),
    (("config", "reset"), "nothing is reset without --to-default"),
    (("config", "show", "x"), "unexpected extra argument"),
    (("config", "set", "views.keep"), "missing argument 'VALUE'"),
    (("config", "set", "views.keep", ""), "the value is empty"),
    (("redis", "flush"), "nobody is there to confirm"),
    (("redis", "flush", "--backup", "x", "--no-backup"), "both --backup and --no-backup"),
    (("demo", "tasks", "x"), "unexpected extra argument"),
    (("board", "--port", "70000"), "there is no port 70000"),
    (("help", "x", "y"), "unexpected extra argument"),
    (("workflow", "show", "x", "--version", "0"), "0 is below 1"),
    (("workflow", "show", "x", "--format", "xml"), "'xml' is not one of"),
    (("workflow", "diff", "x", "1"), "missing argument 'B'"),
    (("workflow", "run"), "missing argument 'SOURCE'"),
    (("workflow", "run", "x", "--param", "branch"), "'branch' is no name=value"),
    (("workflow", "run", "x", "--agent-override", "a="), "'a=' is no A=B"),
    (("workflow", "run", "x", "--files", "lose"), "'lose' is not one of"),
    (("workflow", "run", "x", "--priority", "9"), "9 is not from 1 to 5"),
    (("workflow", "run", "x", "--key", " "), "--key: is empty"),
    (("agent", "stop", "a\udcff"), "not valid UTF-8"),
]


@pytest.mark.parametrize(
    ("args", "said"), BAD, ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else ""
)
def test_one_line_exit_2_and_the_server_is_not_asked(
    maestro: CommandLine, daemon: Scripted, args: tuple[str, ...], said: str
) -> None:
    result = maestro.here(*args)
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("maestro: ") and result.err.count("\n") == 1
    assert said in result.err
    assert daemon.commands == []


def test_there_is_a_bad_input_for_every_group() -> None:
    assert set(GROUPS) == {args[0] for args, _ in BAD} & set(GROUPS)


def test_a_usage_error_says_where_help_is(maestro: CommandLine) -> None:
    assert maestro.here("task", "dispatch").err.endswith("; see `maestro task dispatch --help`\n")


def test_another_name_does_not_flush(maestro: CommandLine, daemon: Scripted) -> None:
    result = maestro.here("redis", "flush", "--confirm", "other")
    assert (result.code, result.out) == (4, "")
    assert "'other' is not the name" in result.err
    assert daemon.commands == []


def test_a_flush_is_confirmed_by_name_and_exports_below_the_home(
    maestro: CommandLine, daemon: Scripted, home: Path
) -> None:
    daemon.answers(p.Done({"deleted": 3}))
    assert maestro.here("redis", "flush", "--confirm", "default").code == 0
    assert "Type its name" in maestro.on_terminal("redis", "flush", "--no-backup", stdin=b"default\n").out
    assert "nothing was deleted" in maestro.on_terminal("redis", "flush", stdin=b"y\n").out
    first, second = daemon.commands
    assert isinstance(first, p.RedisFlush) and first.backup and first.backup.startswith(str(home))
    assert second == p.RedisFlush("default", None)


@pytest.mark.parametrize("prompt", ["- [ ] x", "-- dashes", "--- \ntitle: x", "-5 degrees", "-\tx"])
def test_a_prompt_may_begin_with_a_dash(maestro: CommandLine, daemon: Scripted, prompt: str) -> None:
    daemon.answers(p.Done({"id": "t"}))
    for args in ((prompt, "--to", "a"), ("--to", "a", prompt), ("--to", "a", "--", prompt)):
        assert maestro.here("task", "dispatch", *args).code == 0
    assert [command.prompt for command in daemon.commands if isinstance(command, p.TaskDispatch)] == [prompt] * 3


def test_a_text_that_begins_with_a_sign_can_be_given_and_the_error_says_how(
    maestro: CommandLine, daemon: Scripted
) -> None:
    daemon.answers(p.Done({"id": "t"}))
    said = maestro.here("task", "dispatch", "@all: look", "--to", "a").err
    assert said == "maestro: the prompt from all: look: no such file; a text that begins with @ is written with @@\n"
    assert "@@ is a literal @" in maestro.here("task", "dispatch", "@", "--to", "a").err
    for words in (("task", "dispatch", "-x", "--to", "a"), ("state", "set", "k", "-x")):
        assert "; a text that begins with - goes behind --; see" in maestro.here(*words).err
    for words in (("task", "dispatch", "-", "--to", "a"), ("state", "set", "k", "-")):
        assert "for a literal -, pipe one in: printf %s -" in maestro.apart(*words).err
    assert [type(command) for command in daemon.commands] == [p.StateSet]
    daemon.commands.clear()
    maestro.here("task", "dispatch", "@@all: look", "--to", "a")
    maestro.here("task", "dispatch", "@@", "--to", "a")
    maestro.here("task", "dispatch", "--to", "a", "--", "--help-me")
    maestro.apart("task", "dispatch", "--to", "a", "-", stdin=b"-")
    assert [each.prompt for each in daemon.commands if isinstance(each, p.TaskDispatch)] == [
        "@all: look", "@", "--help-me", "-",
    ]  # fmt: skip
    maestro.here("state", "set", "k", "--", "-5")
    maestro.here("state", "set", "k", "@literal")
    maestro.apart("state", "set", "k", "-", stdin=b"-")
    assert [each.value for each in daemon.commands if isinstance(each, p.StateSet)] == ["-5", "@literal", "-"]


DURATIONS = [
    ("task dispatch x --to a --timeout", p.TaskDispatch, "timeout_s"),
    ("task wait x --timeout", p.TaskWait, "timeout_s"),
    ("shutdown --grace-period", p.Shutdown, "grace_s"),
]


@pytest.mark.parametrize(("command", "sent", "field"), DURATIONS, ids=lambda value: str(value)[:20])
def test_every_duration_has_the_same_forms(
    maestro: CommandLine,
    daemon: Scripted,
    command: str,
    sent: type[p.Command],
    field: str,
) -> None:
    # Refused: a `shutdown` that is done would be waited for until this process ends, as it is the server.
    daemon.answers(p.Failed("refused", 4, "as the test wants it"))
    given = {"90": 90, "90s": 90, "10m": 600, "2h": 7200, "1h30m": 5400, "1d": 86_400, "0.5": 0.5}
    for text in given:
        assert maestro.here(*command.split(), text).code == 4
    assert [getattr(each, field) for each in daemon.commands if isinstance(each, sent)] == list(given.values())
    refused = maestro.here(*command.split(), "soon")
    assert "'soon' is no duration" in refused.err and "give 90 (seconds), 90s, 10m, 2h, 7d or 1h30m" in refused.err


@pytest.mark.parametrize("command", ["task dispatch", "task wait", "shutdown", "state set"])
def test_help_says_what_a_bare_number_of_a_duration_means(maestro: CommandLine, command: str) -> None:
    assert "a bare number is seconds" in " ".join(maestro.here(*command.split(), "--help").out.split())


@pytest.mark.parametrize("command", ["task list", "audit", "replay at", "replay diff", "state restore"])
def test_help_says_what_a_time_without_zone_and_a_bare_number_mean(maestro: CommandLine, command: str) -> None:
    told = " ".join(maestro.here(*command.split(), "--help").out.split())
    assert "UTC where it names no zone" in told and "osition" in told


def test_a_prompt_comes_from_a_file_or_from_standard_input(
    maestro: CommandLine, daemon: Scripted, tmp_path: Path
) -> None:
    daemon.answers(p.Done({"id": "t"}))
    text = "- [ ] Grüße\n" + "x" * 10_000_000
    (tmp_path / "prompt.md").write_text(text)
    assert maestro.here("task", "dispatch", f"@{tmp_path}/prompt.md", "--to", "a").code == 0
    assert maestro.apart("task", "dispatch", "-", "--to", "a", stdin=text.encode()).code == 0
    assert [command.prompt for command in daemon.commands if isinstance(command, p.TaskDispatch)] == [text, text]


def test_a_prompt_file_that_cannot_be_used_is_told(maestro: CommandLine, daemon: Scripted, tmp_path: Path) -> None:
    (tmp_path / "latin1").write_bytes(b"Gr\xfc\xdfe")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(64 * 1024 * 1024 + 1)
    told = {
        "missing": (3, "no such file"),
        "latin1": (2, "not UTF-8 at byte 2"),
        "huge": (2, "above the limit"),
        "": (2, "Is a directory"),
    }
    for name, (code, said) in told.items():
        result = maestro.here("task", "dispatch", f"@{tmp_path}/{name}", "--to", "a")
        assert (result.code, result.out) == (code, "")
        assert said in result.err and result.err.count("\n") == 1
    result = maestro.apart("task", "dispatch", "-", "--to", "a", stdin=b"\xff")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert daemon.commands == []


def test_targets_and_dependencies_are_lists_in_order_each_once(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done({"id": "t"}))
    args = ("--to", "a,b", "--to", "role:c,a", "--depends-on", "x,y", "--depends-on", "z")
    assert maestro.here("task", "dispatch", "do it", *args).code == 0
    command = daemon.commands[0]
    assert isinstance(command, p.TaskDispatch)
    assert (command.to, command.depends_on) == (["a", "b", "role:c"], ["x", "y", "z"])


def test_a_definition_file_is_sent_with_its_text(maestro: CommandLine, daemon: Scripted, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("slug: t\nmode: code\n")
    maestro.here("agent", "register", "--file", str(tmp_path / "t.yaml"))
    assert daemon.commands == [p.AgentRegister(None, "slug: t\nmode: code\n", str(tmp_path / "t.yaml"))]
    assert maestro.here("agent", "register", "--file", str(tmp_path / "none.yaml")).code == 3


def test_a_config_file_that_cannot_be_read_can_be_reset(maestro: CommandLine, home: Path) -> None:
    path = home / ".config" / "maestro" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("max_concurrent = [")
    assert maestro.here("agent", "list").code == 2
    assert maestro.here("config", "reset", "--to-default").code == 0
    assert not path.exists()
    assert maestro.here("config", "show").code == 0
