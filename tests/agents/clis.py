"""The real agents of the tests: which ones, at which version, how they are installed, and what was found out on them.

`python tests/agents/clis.py` (or `tools/agent-clis`) installs them with npm, each in a prefix of its own below
`$AGENT_CLIS_DIR`, else `$XDG_CACHE_HOME/maestro-tests/agents`. It needs Node and npm and nothing else, may be
interrupted, run again and run twice at once, and says which agent it had to leave out and why.

Facts seen with the stub, on Linux x86_64, beyond and against what was known before. Samples lie in `samples/`.

codex 0.169.0
    Prompt on stdin, exact, by `codex exec … -` or without a prompt; the same behind `resume ID`. A resumed thread keeps
    its id. `turn.completed.usage` is the sum of the whole *thread*: a resumed run tells more than it used.
    `error` events tell of retries ("Reconnecting... 1/5") and `item.completed` of type `error` of warnings, both in
    runs that go well: only `turn.failed` means failure. 401 is tried 6 times (7 s), 500 24 times (25 s); both exit 1
    (`request_max_retries`, `stream_max_retries` of the provider lower that). Unknown mode: exit 2 at once, nothing on
    stdout. Unknown session: exit 1, stderr only. SIGTERM: -15 in 0.1 s, its shell child gone too. It wants a
    CODEX_HOME that exists, is outside of the system's temp folder, and that it can write.
kilo 7.7.7
    10 s alone and up to 40 s on a busy machine, nearly all of it its own CPU. Prompt on stdin is exact. It reads a
    `kilo.json` of any folder above the workspace. A stream that breaks off ends the run at exit 0 with a `step_finish`
    whose `part.reason` is `other`: only `stop` is a good end. 401: exit 1 at once, `error` event; 500 the same with
    KILO_SESSION_RETRY_LIMIT=1. Unknown mode: exit 0, warning on stderr. Unknown session: exit 1, stderr only.
    `step_finish` counts one request: they add up. SIGTERM: -15; the shell child goes on, in a session of its own.
    The list of modes also has many lines of JSON; those of modes end in `(primary)`, `(subagent)` or `(all)`.
qwen 0.15.10
    Starts itself a second time; SIGTERM ends the outer process only, and the inner one goes on with its task and its
    shell child. With QWEN_CODE_NO_RELAUNCH=1 there is one process: exit 130 after up to 11 s, no child left. Prompt on
    stdin arrives with two line ends behind it, and is cut at 8 MiB; `-- -prompt` is not taken. 401, a broken stream and
    the like: exit 0, `result` with `success` and `is_error: false`, and `[API Error: …]` at the *end* of the text. 500:
    silent retries for minutes, which nothing shortens. `result.usage` is the sum of the session, side requests (titles,
    memory) included; `assistant` events count one request each. Unknown mode: exit 1, help on stderr. Unknown session:
    exit 1, stderr only; sessions belong to the working directory. Its shell tool refuses a bare `sleep`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

NPM_TIMEOUT_S = 900


class Cli(NamedTuple):
    """A pinned agent. package: on npm; program: the name of its command."""

    name: str
    package: str
    version: str
    program: str

    @property
    def folder(self) -> Path:
        """Its prefix. The version is in the name, so that another one is another folder."""
        return folder() / f"{self.name}-{self.version}"

    @property
    def path(self) -> Path:
        """Its command, there or not."""
        return self.folder / "node_modules" / ".bin" / self.program


class CannotInstall(Exception):
    """Why an agent is left out, in one line."""


CLIS = (
    Cli("codex", "@openai/codex", "0.169.0", "codex"),
    Cli("kilo", "@kilocode/cli", "7.7.7", "kilo"),
    Cli("qwen", "@qwen-code/qwen-code", "0.15.10", "qwen"),
)


def folder() -> Path:
    """Where agents are installed."""
    named = os.environ.get("AGENT_CLIS_DIR")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "maestro-tests" / "agents"


def installed() -> dict[str, Cli]:
    """The agents that are there, by name."""
    return {cli.name: cli for cli in CLIS if cli.path.exists()} if shutil.which("node") else {}


def left_out() -> list[str]:
    """A line for each agent that is not there, with the reason and the remedy."""
    remedy = "run tools/agent-clis" if shutil.which("npm") else "install Node, then run tools/agent-clis"
    reason = "not installed" if shutil.which("node") else "Node is not on PATH"
    there = installed()
    return [f"{cli.name} {cli.version} ({reason}; {remedy})" for cli in CLIS if cli.name not in there]


def install(cli: Cli) -> Path:
    """The agent's command, installed if need be. Waits for another process that installs it. Raises CannotInstall."""
    npm = shutil.which("npm")
    if not (npm and shutil.which("node")):
        raise CannotInstall("Node and npm are not on PATH")
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with (folder() / f"{cli.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not cli.path.exists():
                _install(cli, npm)
    except OSError as error:
        raise CannotInstall(f"{error.strerror}: {error.filename}") from None
    return cli.path


def _install(cli: Cli, npm: str) -> None:
    """Into a folder that gets its name only once the agent answers; what is already there from before is used again."""
    partial = cli.folder.with_name(cli.folder.name + ".partial")
    partial.mkdir(exist_ok=True)
    command = [npm, "install", "--prefix", str(partial), "--no-audit", "--no-fund", "--no-update-notifier"]
    command += ["--loglevel=error", "--fetch-retries=5", f"{cli.package}@{cli.version}"]
    _run(command, "npm")
    program = partial / cli.path.relative_to(cli.folder)
    said = _run([str(program), "--version"], cli.program)
    if cli.version not in said:
        raise CannotInstall(f"its version should be {cli.version}, and it says {said.strip()[:80]}")
    partial.rename(cli.folder)


def _run(command: list[str], name: str) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NPM_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"{name} took more than {NPM_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise CannotInstall(f"{name} ended with {done.returncode}: {lines[0] if lines else 'without a word'}"[:200])
    return done.stdout


def main() -> int:
    """Install all of them. Exit code 1 if one had to be left out."""
    missing = 0
    for cli in CLIS:
        try:
            print(f"    {cli.name} {cli.version}: {install(cli)}", flush=True)
        except CannotInstall as error:
            missing += 1
            print(f"    left out: {cli.name} {cli.version}: {error}", file=sys.stderr, flush=True)
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main())
