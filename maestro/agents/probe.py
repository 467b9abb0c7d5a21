"""Probes of a program for its version and modes: a short run with a timeout, an empty stdin, a folder of its own.

The program is not trusted to answer, to end or to be quiet: what it leaves is killed, what it says is cut.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from maestro.agents.launch import Target, compose, embedded
from maestro.agents.parts import ModeList
from maestro.agents.schema import Definition
from maestro.printable_text import plain

TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 256 * 1024
USAGE = 2
"""The exit code of most programs for a command line that they do not understand."""
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Answer(msgspec.Struct, frozen=True):
    """The output of a probe. exit_code: None where it was ended by the timeout or a signal, or did not start."""

    text: str
    exit_code: int | None


class Found(msgspec.Struct, frozen=True):
    """The result of a search for a program. executable: absolute path, "" for none; tried: every place looked at."""

    executable: str
    tried: tuple[str, ...]


class Refusal(msgspec.Struct, frozen=True):
    """What a program says against its arguments. is_certain: as one that does not know them, not as one that lacks
    something of a run, which a trial does not have.
    """

    text: str
    is_certain: bool


def find_program(definition: Definition, env: Mapping[str, str], cwd: str) -> Found:
    """The program that `bin` names, in the caller's environment and folder.

    The first of several that is there is taken; one that a set variable names is taken or nothing is.
    """
    names = (definition.bin,) if isinstance(definition.bin, str) else definition.bin
    tried: list[str] = []
    for name in names:
        variables = _VARIABLE.findall(name)
        if any(not env.get(variable) for variable in variables):
            tried += [f"${{{variable}}} (not set)" for variable in variables if not env.get(variable)]
            continue
        filled = _VARIABLE.sub(lambda match: env[match[1]], name)
        place = _located(filled, env, cwd)
        if place:
            return Found(place, (*tried, place))
        tried.append(filled if "/" in filled else f"{filled} on PATH")
        if variables:
            break
    return Found("", tuple(tried))


def variable_of(definition: Definition) -> str:
    """The variable of the environment that may name the program, "" where there is none."""
    names = (definition.bin,) if isinstance(definition.bin, str) else definition.bin
    return next((variable for name in names for variable in _VARIABLE.findall(name)), "")


def version(definition: Definition, executable: str, env: Mapping[str, str]) -> str:
    """The version that a program tells, "" where it tells none in time."""
    probe = definition.version
    if probe is None:
        return ""
    found = re.search(probe.regex, ask(_filled(probe.argv, executable), definition, env).text)
    return (found[1] or "") if found else ""


def is_older(found: str, least: str) -> bool:
    """Whether a version is below `least`; an unknown version is."""
    return _numbers(found) < _numbers(least)


def modes(definition: Definition, listing: ModeList, executable: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """The modes that a program lists, in its order; () where it lists none."""
    answer = ask(_filled(listing.argv, executable), definition, env)
    if answer.exit_code != 0:
        return ()
    pattern = re.compile(listing.regex)
    found = [match[1] for line in answer.text.splitlines() if (match := pattern.search(line))]
    return tuple(dict.fromkeys(mode for mode in found if mode and mode not in listing.exclude))


def refusal(definition: Definition, executable: str, env: Mapping[str, str]) -> Refusal | None:
    """What a program says against the arguments of a run, put before those of `trial`; None where it says nothing.

    The prompt is left out. Only a program that reads all arguments before it does what `trial` asks for can tell. Where
    those would be no options, the program is not asked: it would go to work.
    """
    with tempfile.TemporaryDirectory(prefix="maestro-trial-", ignore_cleanup_errors=True) as folder:
        prompt = Path(folder, "prompt.txt")
        prompt.write_text("Do nothing.\n")
        target = Target(
            run="trial",
            task="trial",
            agent=definition.slug,
            token="0",
            prompt="Do nothing.",
            prompt_file=str(prompt),
            workspace=folder,
            tmp=folder,
            socket=f"{folder}/run.sock",
            home=folder,
            environment=env,
        )
        launch = compose(msgspec.structs.replace(definition, executable=executable), target)
        if "--" in launch.argv:
            return None
        for file in launch.files:
            if file.path.startswith(f"{folder}/"):  # none in the user's home
                with contextlib.suppress(OSError):
                    Path(file.path).parent.mkdir(parents=True, exist_ok=True)
                    Path(file.path).write_bytes(file.content.encode("utf-8", "replace"))
        answer = ask((*launch.argv, *definition.trial), definition, env, folder)
    if answer.exit_code == 0:
        return None
    said = [line.strip() for line in answer.text.splitlines() if line.strip()]
    told = f"exit code {answer.exit_code}" if answer.exit_code is not None else "no end in time"
    error = next((line for line in said if re.search(r"\berror: ", line, re.IGNORECASE)), "")
    return Refusal(error or (said[-1] if said else told), bool(error) and answer.exit_code == USAGE)


def ask(argv: Sequence[str], definition: Definition, env: Mapping[str, str], place: str = "") -> Answer:
    """Run a command for its output, stdout and stderr together, at most `TIMEOUT_S`; never raises for the program.

    place: the folder that stands for those of a run, else one of its own.
    """
    with tempfile.TemporaryDirectory(prefix="maestro-probe-", ignore_cleanup_errors=True) as folder:
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(definition, env, place or folder),
                start_new_session=True,
            )
        except (OSError, ValueError):
            return Answer("", None)
        with process:
            try:
                output = _read(process, time.monotonic() + TIMEOUT_S)
                ended = _has_ended(process)
            finally:
                _kill_group(process)
            code = process.wait()
    return Answer(plain(output.decode("utf-8", "replace")), code if ended and code >= 0 else None)


def _environment(definition: Definition, env: Mapping[str, str], place: str) -> dict[str, str]:
    """The environment of a probe: what each program gets, and what its type sets, as a run in a folder would."""
    environment = {name: env[name] for name in _INHERITED if name in env}
    if definition.private_home:
        environment["HOME"] = place
    places = {
        "{bin}": definition.executable,
        "{mode}": definition.program_mode,
        "{prompt_file}": f"{place}/prompt.txt",
        "{workspace}": place,
        "{home}": environment.get("HOME", "/"),
        "{tmp}": place,
    }
    return environment | {name: embedded(value, places) for name, value in definition.env.items()}


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The output of a program until it ends, closes its output, says too much or takes too long."""
    assert process.stdout is not None
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(output) < ANSWER_BYTES_MAX and (left := deadline - time.monotonic()) > 0:
            ended = _has_ended(process)
            if selector.select(0 if ended else min(left, 0.05)):
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    _await_end(process, deadline)
                    break
                output += chunk
            elif ended:
                break
    return output


def _await_end(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Wait for the end of a program that has closed its output. At the deadline the caller kills it."""
    pause = 0.0005
    while not _has_ended(process) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a program has ended, without reaping it where the system allows: so nobody else gets its pid."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and what it left in its session. It is not reaped yet, so its pid is still its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # no process of the session is left


def _located(name: str, env: Mapping[str, str], cwd: str) -> str:
    """The absolute path of an executable file, "" where there is none. Links stay: programs are updated by them."""
    if "/" in name:
        path = Path(name).expanduser() if name.startswith("~/") else Path(cwd, name)
        place = os.path.normpath(path)
        return place if Path(place).is_file() and os.access(place, os.X_OK) else ""
    place = shutil.which(name, path=env.get("PATH", os.defpath)) or ""
    return os.path.normpath(Path(cwd, place)) if place else ""


def _filled(argv: Sequence[str], executable: str) -> list[str]:
    return [executable if word == "{bin}" else word for word in argv]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,9}", text))
