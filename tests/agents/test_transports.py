"""Types that say `transport: acp`: which keys the protocol gives, which the adapter, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from maestro.agents import provenance
from maestro.agents.definitions import Definition, load, parse
from maestro.agents.launch import Target, compose
from maestro.model.errors import Invalid

ACP = "slug: x\ntransport: acp\n"
TARGET = Target(
    run="t-0.1",
    task="t",
    agent="a",
    token="1",
    prompt="-p",
    prompt_file="/r/prompt.txt",
    workspace="/w",
    tmp="/t",
    socket="/s",
    session="s-1",
)


@pytest.mark.parametrize(
    ("name", "argv"), [("kilo", "acp"), ("opencode", "acp"), ("qwen", "--acp"), ("gemini", "--acp")]
)
def test_an_adapter_that_knows_the_protocol_is_started_to_speak_it(name: str, argv: str) -> None:
    found = parse(f"{ACP}adapter: {name}\n", "x.yaml")
    assert found.argv == ("{bin}", argv)
    assert (found.output.session, found.success.refused_event) == (
        ("session",),
        ({"type": "done", "stop_reason": "refusal"}, {"type": "permission", "rejected": "true"}),
    )
    assert found.requires == load(name, []).requires
    assert load(name, []).transport == "cli"


def test_the_driver_gets_what_it_needs_and_the_program_its_own_command_line() -> None:
    keys = "adapter: kilo\nmode: architect\nargs: [--pure]\nlimits: {silent_s: 6}\n"
    keys += "acp: {permissions: allow, reject: [delete]}\n"
    found = msgspec.structs.replace(parse(ACP + keys, "x.yaml"), executable="/opt/kilo")
    launch = compose(found, TARGET)
    assert launch.argv[1:4] == ("-I", "-m", "maestro.acp")
    assert launch.argv[5:] == ("/opt/kilo", "acp", "--pure")
    assert launch.stdin is None
    assert json.loads(launch.argv[4]) == {
        "prompt_file": "/r/prompt.txt",
        "workspace": "/w",
        "mode": "plan",
        "session": "s-1",
        "permissions": "allow",
        "allow": [],
        "reject": ["delete"],
        "answer_s": None,
        "beat_s": 2.0,
        "grace_s": 5.0,
        "secrets": [],
    }


def test_keys_are_told_with_the_transport_that_gives_them_and_mean_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "careful.yaml").write_text("slug: careful\nadapter: qwen\ntransport: acp\nsuccess: {exit: [0, 9]}\n")
    told = provenance.explain("careful", [tmp_path])
    assert told.origins["output.session"].startswith("transport acp, line ")
    assert told.origins["argv"].startswith("adapter qwen, line ")
    assert told.origins["success.exit"] == f"{tmp_path}/careful.yaml:4"
    again = parse("\n".join(provenance.commented(msgspec.to_builtins(told))), "shown.yaml")
    first = load("careful", [tmp_path])
    assert {key for key in Definition.__struct_fields__ if getattr(again, key) != getattr(first, key)} <= {"source"}
    (tmp_path / "above.yaml").write_text("slug: above\nadapter: careful\nmode: plan\n")
    above = load("above", [tmp_path])
    assert (above.transport, above.argv, above.success.exit) == ("acp", ("{bin}", "--acp"), (0, 9))


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("adapter: codex", "the adapter codex knows no way to"),
        ("adapter: kilo\nisolate_with: docker\nimage: i", "whose driver is in no container"),
        ('adapter: none\nbin: x\nargv: ["{bin}", "{prompt}"]', "has {prompt}"),
        ('adapter: none\nbin: x\nargv: ["{bin}", "{mode}"]\nmode: m', "has {mode}"),
        ("adapter: kilo\nacp: {answer_s: 0}", "is 0"),
        ("adapter: kilo\nacp: {permissions: perhaps}", "perhaps"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(keys: str, why: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(ACP + keys + "\n", "x.yaml")
    assert why in refused.value.line() and "x.yaml" in refused.value.line()
