"""Definitions: files of `agents.d` over the built-in adapters, each wrong key with its place and remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from maestro.agents import adapters, definitions
from maestro.agents.adapters import names
from maestro.agents.definitions import Definition, built_in, load, parse, types
from maestro.agents.parts import Resources
from maestro.agents.schema import TypeDocument, type_schema
from maestro.model.errors import Invalid, NotFound


def refusal(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        parse(text, "agents.d/x.yaml")
    line = caught.value.line()
    assert line.startswith("agents.d/x.yaml:")
    assert "\n" not in line
    return line


def write(folder: Path, slug: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{slug}.yaml").write_text(text)


def test_a_file_of_only_slug_and_mode_is_complete() -> None:
    found = parse("slug: reviewer\nmode: code\n", "/etc/maestro/agents.d/reviewer.yaml")
    assert (found.adapter, found.mode, found.isolate_with) == ("kilo", "code", "none")
    assert found.prompt.via == "stdin"
    assert found.older_form().argv == ("{bin}", "{mode}", "{prompt}", "{workspace}")


def test_every_key_of_the_specification_is_read() -> None:
    found = parse(
        """
slug: full
mode: architect
adapter: kilo
workspace_template: ~root/template
resource_limits: {memory: 512M, cpu: 1.5, pids: 100, disk: 2GiB}
capabilities: [review, python]
env: {DEBUG: yes, LEVEL: 3, NAME: "a b"}
env_inherit: [PATH, GIT_*]
""".replace("GIT_*", "GIT_AUTHOR_NAME")
        + """
secret_env: [PROVIDER_KEY]
secrets_dir: /run/secrets
shared_cache: /var/cache/shared
isolate_with: bubblewrap
shared_network: true
success: {exit: [0, 3], fail_stdout: 'API Error:'}
stop: {signal: INT, grace_s: 2}
limits: {timeout_s: 60}
""",
        "x.yaml",
    )
    assert found.resource_limits == Resources(memory=512 * 1024**2, cpu=1.5, pids=100, disk=2 * 1024**3)
    assert found.workspace_template == os.path.expanduser("~root/template")
    assert found.env.items() >= {"KILO_DISABLE_AUTOUPDATE": "1", "DEBUG": "yes", "LEVEL": "3", "NAME": "a b"}.items()
    assert found.capabilities == ("review", "python")
    assert found.program_mode == "plan"
    assert found.success.exit == (0, 3)
    assert found.success.wrong_mode_stderr == "Falling back to default agent", "the adapter's other rules stay"
    assert found.older_form().program_mode == "architect"
    assert found.older_form().success.exit == (0, 3)


def test_the_example_adapter_of_the_documentation_fits_the_schema() -> None:
    found = parse(
        r"""
slug: example
bin: "${MAESTRO_KILOCODE_BIN}"
version: {argv: ["{bin}", "--version"], regex: '(\d+\.\d+\.\d+)', min: "7.0"}
modes: {list: {argv: ["{bin}", "agent", "list"], regex: '^(\S+) \(primary\)', exclude: [title, summary, compaction]},
        static: [], map: {architect: plan}, default: code}
argv: ["{bin}", "run", "--auto", "--format", "json", "--dir", "{workspace}", "--agent", "{mode}", "{prompt}"]
prompt: {via: stdin}
cwd: "{workspace}"
env: {KILO_DISABLE_AUTOUPDATE: "1"}
env_inherit: [PATH, LANG]
secret_env: [PROVIDER_KEY]
home: user
credentials: ["~/.config/kilo/auth.json"]
files: [{path: "{home}/.config/x.json", content: "…", mode: "0600"}]
output: {format: ndjson, session: [sessionID], text: {match: {type: text}, path: part.text},
         usage: {match: {type: step_finish}, path: part.tokens}}
success: {exit: [0], final_event: {type: step_finish}, fail_event: {type: error}, fail_stderr: 'Falling back'}
resume: {args: ["--session", "{session}"], before: prompt}
stop: {signal: TERM, grace_s: 10}
limits: {timeout_s: 1800, silent_s: null}
""",
        "x.yaml",
    )
    assert found.output.session == ("sessionID",)
    assert found.resume is not None


def test_a_definition_survives_the_log_and_ignores_keys_of_later_builds() -> None:
    found = parse("slug: x\nmode: code\nsecret_env: [KEY]\nresources: {memory: 1G}\n", "x.yaml")
    data = json.loads(json.dumps(found.to_dict()))
    assert Definition.from_dict(data) == found
    assert Definition.from_dict({**data, "of_a_later_build": 1}) == found
    with pytest.raises(Invalid, match="assign the agent again"):
        Definition.from_dict({"slug": 5})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode: code\n", "key 'slug' is missing"),
        ("slug: x\nmdoe: code\n", "x.yaml:2: mdoe: is not a known key; did you mean 'mode'?"),
        ("slug: x\nstop:\n  sginal: INT\n", "x.yaml:3: stop.sginal: is not a known key; did you mean 'signal'?"),
        (
            "slug: x\nmdoe: code\nmode: 5\nenv: [A]\n",
            "x.yaml:2: mdoe: is not a known key; did you mean 'mode'?; also line 3: mode: is a number (5), not text, "
            "line 4: env: is a list, not a mapping of names",
        ),
        ("slug: x\nmode: 5\n", "x.yaml:2: mode: is a number (5), not text; put it in quotes"),
        ("slug: x\nmode: m\ndelegate: {depth: 1}\n", "x.yaml:3: delegate: key 'to' is missing"),
        ("slug: x\nmode: m\ndelegate: {to: []}\n", "x.yaml:3: delegate.to: is empty; name targets"),
        ("slug: x\nmode: m\ndelegate: {to: ['pool:a']}\n", "x.yaml:3: delegate.to[0]: 'pool:a' is no target; use an"),
        ("slug: x\nmode: m\ndelegate: {to: [a], depth: 0}\n", "x.yaml:3: delegate.depth: is 0; use 1 to 10"),
        ("slug: x\nmode: m\ndelegate: {to: [a], max: 1001}\n", "x.yaml:3: delegate.max: is 1001; use 1 to 1000"),
        ("slug: x\nmode: on\n", "mode: is true/false (on), not text"),
        ("slug: x\nmode:\n", "mode: is nothing, not text"),
        ("slug: x\nmode: [code]\n", "mode: is a list, not text"),
        ("slug: x\ncapabilities: review\n", "capabilities: is text (review), not a list"),
        ("slug: x\ncapabilities:\n  - a\n  - {b: c}\n", "x.yaml:4: capabilities[1]: is a mapping, not text"),
        ("slug: x\nenv: [A, B]\n", "env: is a list, not a mapping of names"),
        ("slug: x\nenv:\n  A: [1]\n", "x.yaml:3: env.A: is a list, not text"),
        ("slug: x\nisolate_with: chroot\n", "isolate_with: is text (chroot), not one of bubblewrap, docker, none"),
        ("slug: x\nshared_network: perhaps\n", "shared_network: is text (perhaps), not true or false"),
        ("slug: x\nlimits: {timeout_s: soon}\n", "limits.timeout_s: is text (soon), not a duration; give 90"),
        ("slug: x\nlimits: {timeout_s: -1}\n", "limits.timeout_s: is -1"),
        ("slug: x\nstop: {grace_s: 1e99}\n", "stop.grace_s: is 1e+99"),
        ("slug: x\nsuccess: {exit: 0}\n", "success.exit: is a number (0), not a list"),
        ("slug: x\nsuccess: {fail_stdout: '('}\n", "success.fail_stdout: is no regular expression"),
        ("slug: x\nmodes: {list: {argv: [a], regex: x}}\n", "modes.list.regex: has no group"),
        ("slug: x\nadapter: klio\n", "adapter: klio is no adapter; did you mean 'kilo'?"),
        ("slug: ../x\n", "slug: ../x is no name"),
        ('slug: "a\\nb"\n', "slug: 'a\\nb' is no name"),
        ("slug: x\nmode: --rm\n", "mode: --rm is no name"),
        ("slug: x\nargv: ['{bin}', '--prompt={prompt}']\n", "argv[1]: {prompt} is only a part of the argument"),
        ("slug: x\nargv: ['{bin}', '{promt}']\n", "argv[1]: {promt} is no placeholder here; did you mean 'prompt'?"),
        ("slug: x\nargv: []\n", "argv: is empty"),
        ("slug: x\nargv: ['{bin}']\nprompt: {via: arg}\n", "argv: has no {prompt}"),
        ("slug: x\nargv: ['{bin}']\nprompt: {via: file}\n", "argv: has no {prompt_file}"),
        ("slug: x\nadapter: shell\nargv: ['{bin}', '{mode}']\n", "key 'mode' is missing"),
        ("slug: x\nenv: {MAESTRO_REDIS_URL: redis://x}\n", "env.MAESTRO_REDIS_URL: MAESTRO_REDIS_URL is Maestro's own"),
        ("slug: x\nenv_inherit: [MAESTRO_REDIS_URL]\n", "env_inherit[0]: MAESTRO_REDIS_URL is Maestro's own"),
        ("slug: x\nenv: {'A B': c}\n", "A B is no name of a variable"),
        ("slug: x\nenv: {KEY: c}\nsecret_env: [KEY]\n", "secret_env[0]: KEY is also in env"),
        ('slug: x\nenv: {KEY: "a\\0b"}\n', "env.KEY: holds a NUL character"),
        ("slug: x\nresources: {memory: lots}\n", "resources.memory: is lots; use a size, like 512M"),
        ("slug: x\nresources: {cpu: 0}\n", "resources.cpu: is 0"),
        ("slug: x\nresources: {pids: -1}\n", "resources.pids: is -1"),
        ("slug: x\nresources: {}\nresource_limits: {}\n", "resources: means the same as resource_limits"),
        ("slug: x\nfiles: [{path: '{workspace}/../x', content: ''}]\n", "files[0].path: is {workspace}/../x"),
        ("slug: x\nfiles: [{path: /etc/passwd, content: ''}]\n", "files[0].path: is /etc/passwd"),
        ("slug: x\nfiles: [{path: '{tmp}/x', content: '', mode: rw}]\n", "files[0].mode: is rw"),
        ("slug: x\nfiles: [{path: '{tmp}/x'}]\n", "files[0]: key 'content' is missing"),
        ("slug: x\ncwd: relative\n", "cwd: is relative"),
        ("slug: x\nworkspace_template: ~nobody-of-that-name/x\n", "which is nobody's home"),
        ("slug: x\nargs: ['a{prompt}b']\n", "args[0]: {prompt} is only a part"),
        ("slug: x\noutput: {text: {match: {type: a}}}\n", "output.text: key 'path' is missing"),
        ("slug: x\noutput: {text: {path: 'a b'}}\n", "output.text.path: a b is no path"),
        ("slug: x\noutput: {text: [{path: a}, {path: a..b}]}\n", "output.text[1].path: a..b is no path"),
        ("slug: x\noutput: {usage: {match: {type: '~('}}}\n", "output.usage.match.type: is no regular expression"),
        ("slug: x\noutput: {session: [a, 'b[']}\n", "output.session[1]: b[ is no path"),
        ("slug: x\nadapter: shell\noutput: {session: ['id .*']}\n", "output.session[0]: has no group"),
        ("slug: x\noutput: {format: xml}\n", "not one of json, ndjson, text"),
        ("slug: x\nadapter: shell\noutput: {usage: {path: a}}\n", "output.usage: needs events, but the output is text"),
        ("slug: x\nadapter: shell\nsuccess: {fail_event: {a: b}}\n", "success.fail_event: needs events"),
        ("slug: x\nsuccess: {fail_event: {}}\n", "success.fail_event: matches every event"),
        ("slug: x\nsuccess: {final_event: [{a: b}, {a: '~['}]}\n", "success.final_event[1].a: is no regular"),
        ("slug: x\nresume: {args: [--on]}\n", "resume: has no {session}"),
        ("slug: x\nresume: {args: ['{session}'], before: -q}\n", "resume.before: -q is not in argv"),
        ("slug: x\nadapter: shell\nresume: {args: ['{session}']}\n", "resume: needs a session, but none is ever known"),
        ("slug: x\nargs_before: -q\nargs: [a]\n", "args_before: -q is not in argv; use prompt, start, end"),
        ("slug: x\nenv: {A: 'a {prompt}'}\n", "env.A: {prompt} is no placeholder here; use {prompt_file}"),
        (
            "slug: x\nfiles: [{path: '{tmp}/x', content: 'a{session}'}]\n",
            "files[0].content: {session} is no placeholder",
        ),
        ("slug: x\nprompt: {commands: '/', guard: '/x'}\n", "prompt.guard: /x does not make a prompt plain text"),
        (
            "slug: x\nadapter: claude\nprompt: {guard: /}\n",
            "x.yaml:3: prompt.guard: / does not make a prompt plain text",
        ),
        ('slug: x\nadapter: aider\nprompt: {commands: "\\n"}\n', "does not make a prompt plain text"),
        ("slug: x\nprompt: {commands: '/', guard: ''}\n", "prompt.guard: '' does not make a prompt plain text"),
        ("slug: x\nresume: {before: end}\n", "resume: has no arguments"),
        ("slug: x\nsuccess: {fail_stdout: [a, '(']}\n", "success.fail_stdout[1]: is no regular expression"),
        ("slug: x\noutput: {text: {pattern: a}}\n", "output.text.pattern: is for text, but the output is ndjson"),
        ("slug: x\noutput: {usage: [{id: a..b}]}\n", "output.usage[0].id: a..b is no path"),
        ("slug: x\nadapter: shell\noutput: {usage: {pattern: '(a)'}}\n", "output.usage.pattern: has no group of such"),
        ("slug: x\nadapter: shell\noutput: {text: {pattern: a, after: {b: c}}}\n", "output.text.after: does not fit"),
        ("slug: x\noutput: {text: {path: a, after: b}}\n", "output.text.after: does not fit the format ndjson"),
        ("slug: x\nbudget: {tokens: 0}\n", "budget.tokens: is 0"),
        ("slug: x\nbudget: {tokens: 1.5}\n", "budget.tokens: is a number (1.5), not a whole number"),
        ("slug: x\nverify: []\n", "verify: is empty"),
        ("just text\n", "x.yaml:1: is text (just text), not a mapping of keys"),
        ("- slug\n", "is a list, not a mapping of keys"),
    ],
)
def test_a_wrong_key_is_named_with_its_line_and_remedy(text: str, said: str) -> None:
    assert said in refusal(text)


def test_what_an_earlier_build_recorded_is_still_read() -> None:
    for name in names():
        data = built_in(name).to_dict()
        recorded = {key: value for key, value in data.items() if key != "args_before"}
        recorded["prompt"] = {key: data["prompt"][key] for key in ("via", "max_bytes", "otherwise")}
        recorded["output"] = {"format": "ndjson", "session": ["id"], "text": {"match": {}, "path": "a", "after": None}}
        recorded["output"]["usage"] = {"match": {"type": "result"}, "path": "u", "input": "", "counts": "each"}
        recorded["success"] = {**data["success"], "fail_stdout": "^a", "final_stdout": ""}
        found = Definition.from_dict(recorded)
        assert (found.args_before, found.prompt.commands, found.prompt.guard) == ("prompt", "", "\n")
        assert (found.output.usages[0].id, found.output.usages[0].told, found.output.texts[0].path) == (
            "",
            "stream",
            "a",
        )


def test_the_way_of_the_prompt_follows_from_overridden_arguments() -> None:
    def via(argv: str) -> str:
        return parse(f"slug: x\nmode: code\nargv: {argv}\n", "x.yaml").prompt.via

    assert via('["{bin}", "{mode}", "{prompt}", "{workspace}"]') == "arg"
    assert via('["{bin}", "{prompt_file}"]') == "file"
    assert via('["{bin}", "-"]') == "stdin"


def test_a_program_of_its_own_takes_nothing_from_kilo() -> None:
    found = parse("slug: x\nbin: goose\nargv: ['{bin}', run, '{prompt_file}']\n", "x.yaml")
    assert (found.adapter, found.prompt.via, found.version, found.env, found.older) == ("none", "file", None, {}, {})
    assert parse("name: x\nadapter: none\nbin: a\nargv: ['{bin}']\n", "x.yaml").slug == "x"


def test_a_file_may_be_the_adapter_of_others_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "goose", "slug: goose\nbin: goose\nargv: ['{bin}', '{mode}']\nmode: fast\nworkspace_template: t\n")
    write(tmp_path, "reviewer", "slug: reviewer\nadapter: goose\nmode: slow\n")
    write(tmp_path, "third", "slug: third\nadapter: reviewer\n")
    found = load("reviewer", [tmp_path])
    assert (found.slug, found.adapter, found.bin, found.mode) == ("reviewer", "goose", "goose", "slow")
    assert found.workspace_template == str(tmp_path / "t")
    with pytest.raises(Invalid, match="reviewer has itself goose as its adapter; name that one"):
        load("third", [tmp_path])


def test_another_format_of_the_output_drops_the_rules_for_the_one_before() -> None:
    found = parse("slug: x\nargv: ['{bin}', '{prompt}']\noutput: {format: text}\n", "x.yaml")
    assert (found.output.session, found.success.final_event, found.resume) == ((), None, None)
    assert found.success.wrong_mode_stderr


def test_matches_are_replaced_whole_and_their_values_taken_as_written() -> None:
    found = parse("slug: x\nsuccess: {fail_event: {ok: false, n: [1, two]}}\n", "x.yaml")
    assert found.success.fail_event == {"ok": "false", "n": ("1", "two")}
    found = parse("slug: x\nsuccess: {final_event: {kind: end}}\n", "x.yaml")
    assert found.success.final_event == {"kind": "end"}
    assert found.success.fail_event == {"type": "error"}


def test_the_json_schema_for_editors_knows_every_key_and_no_other() -> None:
    schema = type_schema()
    known = schema["$defs"]["TypeDocument"]
    assert set(known["properties"]) == {field.encode_name for field in msgspec.structs.fields(TypeDocument)}
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())
    assert json.loads(json.dumps(schema))["title"] == "Maestro agent type"


def test_the_later_folder_overrides_and_built_in_adapters_are_types(tmp_path: Path) -> None:
    system, user = tmp_path / "etc", tmp_path / "user"
    write(system, "reviewer", "slug: reviewer\nmode: ask\n")
    write(user, "reviewer", "slug: reviewer\nmode: code\n")
    write(system, "shell", "slug: shell\nadapter: shell\nenv: {A: b}\n")
    assert load("reviewer", [system, user]).mode == "code"
    assert load("reviewer", [system]).source == str(system / "reviewer.yaml")
    assert load("shell", [system, user]).env == {"A": "b"}
    assert load("kilo", [system, user]).source == "built-in"
    assert load("shell", []).argv == ("{bin}", "{prompt_file}")


def test_an_invalid_file_hides_the_valid_one_below_it(tmp_path: Path) -> None:
    write(tmp_path / "etc", "x", "slug: x\nmode: ask\n")
    write(tmp_path / "user", "x", "slug: x\nmode: ask\nmode: code\n")
    with pytest.raises(Invalid, match=r"user/x\.yaml:3: key mode is there twice"):
        load("x", [tmp_path / "etc", tmp_path / "user"])


@pytest.mark.parametrize("slug", ["nobody", "../../etc/passwd", "a\nb", "", "x" * 300, "a\0b", "\u202eevil"])
def test_an_unknown_type_is_not_found_and_says_where_to_write_it(tmp_path: Path, slug: str) -> None:
    with pytest.raises(NotFound) as caught:
        load(slug, [tmp_path])
    assert "\n" not in caught.value.line()
    assert str(tmp_path) in caught.value.mend


def test_a_type_that_is_nearly_named_is_suggested(tmp_path: Path) -> None:
    write(tmp_path, "code-reviewer", "slug: code-reviewer\nmode: code\n")
    with pytest.raises(NotFound, match="did you mean 'code-reviewer'"):
        load("code-reviwer", [tmp_path])


def test_types_are_listed_valid_or_not_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "good", "slug: good\nmode: code\ncapabilities: [review]\n")
    write(tmp_path, "bad", "slug: bad\nmode: [\n")
    write(tmp_path, "other", "slug: another\nmode: code\n")
    (tmp_path / "long.yml").write_text("slug: long\n")
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / "huge.yaml").write_bytes(b"a" * (2 * 1024 * 1024))
    (tmp_path / "README").write_text("not a definition")
    found = {info.slug: info for info in types([tmp_path, tmp_path / "absent"])}
    assert {slug for slug, info in found.items() if info.valid} == {"good", *adapters.names()}
    assert found["good"].capabilities == ("review",)
    assert "bad.yaml:3" in found["bad"].reason
    assert "is another, but the file is called other.yaml" in found["other"].reason
    assert "name it long.yaml" in found["long"].reason
    assert "no regular file" in found["pipe"].reason
    assert "Is a directory" in found["folder"].reason
    assert "cannot be read" in found["dangling"].reason
    assert "larger than" in found["huge"].reason


def test_every_built_in_adapter_is_valid_by_itself() -> None:
    for name in adapters.names():
        assert definitions.built_in(name).argv


def test_json_is_yaml_too() -> None:
    limits = parse("slug: x\nmode: code\nlimits: {timeout_s: 10m, silent_s: '90', verify_s: 1h30m}\n", "x.yaml").limits
    assert (limits.timeout_s, limits.silent_s, limits.verify_s) == (600, 90, 5400)
    text = msgspec.json.encode({"slug": "x", "mode": "code", "limits": {"timeout_s": 5}, "env": {"A": "é"}})
    assert parse(text, "x.yaml").limits.timeout_s == 5
