"""From a definition and a run to a command line, without I/O, so that what would be run can be shown and tested."""

from __future__ import annotations

import fnmatch
import functools
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from maestro.agents.schema import Definition
from maestro.model.errors import Refused

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"),
)
DRIVER: Final = "maestro.acp"
"""The module that speaks the Agent Client Protocol. Only the name is known here: it stands above."""
BEAT_S: Final = 30.0
_BELOW = re.compile(r"(\{(?:workspace|home|tmp)\})(/.+)", re.DOTALL)
EMBEDDED = re.compile(r"(?<!\{)\{[a-z_]+\}(?!\})")
"""A placeholder anywhere in a text; one in double braces is left as it is, as templates have them."""

_MENTION = "Your task is in the file {file} because of its size. Read all of it, then do what it says."


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as `compose` needs it. All paths are absolute.

    variables: further ones of its task, as they are; marks: further ones that tell the run what it is. traceparent: its
    place in a trace (W3C Trace Context), "" for none.
    """

    run: str
    task: str
    agent: str
    token: str
    prompt: str
    prompt_file: str
    workspace: str
    tmp: str
    socket: str
    home: str = ""
    session: str = ""
    verify: str = ""
    environment: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}
    marks: Mapping[str, str] = {}
    traceparent: str = ""


class PlacedFile(msgspec.Struct, frozen=True):
    """A file to write before a run starts, below workspace, home or tmp. path: absolute; mode: its permission bits."""

    path: str
    content: str
    mode: int


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a run. stdin: a file, None for /dev/null. redact: values that no log may show.
    stop_signal: `TERM`.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    stdin: str | None
    files: tuple[PlacedFile, ...]
    redact: tuple[str, ...]
    stop_signal: str
    grace_s: float
    verify: tuple[str, ...] = ()


def compose(definition: Definition, target: Target) -> Launch:
    """The launch of `target` by a resolved `definition`. Raises `Refused` where the definition is not resolved."""
    if not definition.executable:
        raise Refused(f"type {definition.slug} has no program yet", mend=f"maestro agent register {definition.slug}")
    by_acp = definition.transport == "acp"
    argument, stdin = (None, None) if by_acp else _prompt(definition, target)
    env = _environment(definition, target)
    embeds = definition.env.keys() - target.variables.keys()
    places = {
        "{bin}": definition.executable,
        "{mode}": definition.program_mode,
        "{prompt_file}": target.prompt_file,
        "{workspace}": target.workspace,
        "{home}": env.get("HOME", "/"),
        "{tmp}": target.tmp,
        "{session}": target.session,
    }
    if argument is not None:
        places["{prompt}"] = argument
    words = _words(definition, resumed=bool(target.session) and not by_acp)
    argv = tuple(_filled(word, places) for word in words if word != "{prompt}" or argument is not None)
    if by_acp:
        argv = (*_driver(definition, target, places.get(definition.cwd, definition.cwd)), *argv)
    files = tuple(
        PlacedFile(f"{places[folder]}/{path}", embedded(file.content, places), int(file.mode, base=8))
        for file in definition.files
        for folder, _, path in (file.path.partition("/"),)
    )
    return Launch(
        argv=argv,
        env={name: embedded(value, places) if name in embeds else value for name, value in env.items()},
        cwd=places.get(definition.cwd, definition.cwd),
        stdin=stdin,
        files=files,
        redact=tuple(sorted({value for value in target.secrets.values() if value})),
        stop_signal=definition.stop.signal,
        grace_s=definition.stop.grace_s,
        verify=tuple(_filled(word, places) for word in _verify(definition, target)),
    )


def _driver(definition: Definition, target: Target, cwd: str) -> tuple[str, ...]:
    """The arguments that have Maestro's driver speak the Agent Client Protocol with the command behind them."""
    rule, silent_s = definition.acp, definition.limits.silent_s
    options = {
        "prompt_file": target.prompt_file,
        "workspace": cwd,
        "mode": definition.program_mode,
        "session": target.session,
        "permissions": rule.permissions,
        "allow": rule.allow,
        "reject": rule.reject,
        "answer_s": rule.answer_s,
        "beat_s": BEAT_S if silent_s is None else min(BEAT_S, silent_s / 3),
        "grace_s": definition.stop.grace_s / 2,
        "secrets": definition.secret_env,
    }
    return (sys.executable, "-I", "-m", DRIVER, msgspec.json.encode(options).decode())


def shell(command: str) -> tuple[str, ...]:
    """The arguments that have a shell carry out a command."""
    return ("/bin/sh", "-c", command)


def _verify(definition: Definition, target: Target) -> tuple[str, ...]:
    """The command that verifies a run: the task's, else the type's."""
    command = target.verify or definition.verify
    if isinstance(command, str):
        return shell(command) if command.strip() else ()
    return command


def _words(definition: Definition, resumed: bool) -> tuple[str, ...]:
    """The arguments with their placeholders, and those that go on with a session where one is given."""
    argv = _inserted(definition.argv, definition.args, definition.args_before)
    rule = definition.resume
    if not resumed or rule is None:
        return argv
    return rule.argv or _inserted(argv, rule.args, rule.before)


def _inserted(argv: tuple[str, ...], words: tuple[str, ...], before: str) -> tuple[str, ...]:
    named = {"prompt": _prompt_at, "start": lambda _: 1, "end": len}
    at = named[before](argv) if before in named else argv.index(before) if before in argv else _prompt_at(argv)
    return (*argv[:at], *words, *argv[at:])


def _prompt_at(argv: tuple[str, ...]) -> int:
    """Where the prompt is, with what is before it that looks like the option it is the value of (or like `--`)."""
    at = next((at for at, word in enumerate(argv) if word in ("{prompt}", "{prompt_file}")), len(argv))
    return at - 1 if 1 < at < len(argv) and argv[at - 1].startswith("-") else at


def _filled(word: str, places: Mapping[str, str]) -> str:
    """An argument with its placeholder filled; one without a placeholder as it is."""
    if word in places:
        return places[word]
    match = _BELOW.fullmatch(word)
    return f"{places[match[1]]}{match[2]}" if match else word


def embedded(text: str, places: Mapping[str, str]) -> str:
    """A text with each placeholder in it filled; what is none here stays as it is."""
    return EMBEDDED.sub(lambda found: places.get(found[0], found[0]), text)


def delivered(definition: Definition, prompt: bytes) -> bytes:
    """A prompt as the program gets it: a guard is before one that it would take as a command of its own."""
    rule = definition.prompt
    return rule.guard.encode() + prompt if prompt.startswith(tuple(map(str.encode, rule.commands))) else prompt


def prompt_bytes(prompt: str) -> bytes:
    """A prompt as `prompt.txt` holds it: UTF-8, with bytes that were none (from a command line) put back."""
    try:
        return prompt.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return prompt.encode("utf-8", "replace")


def _prompt(definition: Definition, target: Target) -> tuple[str | None, str | None]:
    """The argument for the prompt and the file for stdin, None where there is none."""
    rule = definition.prompt
    if rule.via == "stdin":
        return None, target.prompt_file
    if rule.via == "file":
        return None, None
    fits = _fits(target.prompt, rule.max_bytes)
    dashed = target.prompt.startswith("-")
    if rule.otherwise == "stdin" and (not fits or dashed):
        return None, target.prompt_file
    if not fits:
        return _MENTION.format(file=target.prompt_file), None
    is_command = bool(target.prompt) and target.prompt[0] in rule.commands
    return ("\n" if dashed else rule.guard if is_command else "") + target.prompt, None


def _fits(prompt: str, bytes_max: int) -> bool:
    """Whether an argument can hold the prompt. Its length is compared first, to not encode one of 10 MB for this."""
    return len(prompt) <= bytes_max and "\0" not in prompt and len(prompt_bytes(prompt)) <= bytes_max


@functools.lru_cache(maxsize=64)
def _matching(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """A function that tells whether a name matches one of the patterns: one expression for all, as it is
    asked often.
    """
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match


def _inherited(definition: Definition, environment: Mapping[str, str]) -> dict[str, str]:
    is_wanted = _matching((*INHERITED, *definition.env_inherit))
    return {name: value for name, value in environment.items() if is_wanted(name) and not name.startswith("MAESTRO_")}


def passed_on(definition: Definition, environment: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The variables that a run gets from outside: those that it inherits, those of its type, and its secrets."""
    return {**_inherited(definition, environment), **definition.env, **secrets}


def _environment(definition: Definition, target: Target) -> dict[str, str]:
    """The environment of a run: the allow-list, the type's, its secrets, its task's, then Maestro's own, which win.

    Its place in a trace stands before the type's, and instead of that of whoever started the daemon.
    """
    env = _inherited(definition, target.environment)
    if target.traceparent:
        env = {name: value for name, value in env.items() if name != "TRACESTATE"} | {"TRACEPARENT": target.traceparent}
    if definition.path:
        env["PATH"] = definition.path
    if definition.private_home:
        env = {name: value for name, value in env.items() if not name.startswith("XDG_")} | {"HOME": target.home}
    return {
        **env,
        "TMPDIR": target.tmp,
        **definition.env,
        **target.secrets,
        **{name: value for name, value in target.variables.items() if not name.startswith("MAESTRO_")},
        **target.marks,
        "MAESTRO_TASK_ID": target.task,
        "MAESTRO_AGENT_ID": target.agent,
        "MAESTRO_WORKSPACE": target.workspace,
        "MAESTRO_RUN_ID": target.run,
        "MAESTRO_RUN_TOKEN": target.token,
        "MAESTRO_RUN_SOCKET": target.socket,
        **_delegate(definition),
    }


def _delegate(definition: Definition) -> dict[str, str]:
    """What the run may dispatch, told to the tools in it; the daemon decides by the definition itself."""
    if definition.delegate is None:
        return {}
    return {"MAESTRO_DELEGATE": msgspec.json.encode(definition.delegate).decode()}
