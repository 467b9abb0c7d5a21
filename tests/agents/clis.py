"""The real agents of the tests: which ones, at which version, how they are installed, and what was found out on them.

`python tests/agents/clis.py` (or `tools/agent-clis`) installs them with npm, each in a prefix of its own below
`$AGENT_CLIS_DIR`, else `$XDG_CACHE_HOME/maestro-tests/agents`. It needs Node and npm and nothing else, may be
interrupted, run again and run twice at once, and says which agent it had to leave out and why.

A prompt that begins with `/` or `!` is plain text to codex, kilo and opencode, also one with `@path` in it.

Facts seen with the stub, on Linux x86_64, beyond and against what was known before. Samples lie in `samples/`.

codex 0.169.0
    Prompt on stdin, exact, by `codex exec … -` or without a prompt; the same behind `resume ID`. A resumed thread keeps
    its id. `turn.completed.usage` is the sum of the whole *thread*: a resumed run tells more than it used. `error`
    events tell of retries ("Reconnecting... 1/5") and `item.completed` of type `error` of warnings, both in runs that
    go well: only `turn.failed` means failure. 401 is tried 6 times (7 s), 500 24 times (25 s), then exit 1
    (`request_max_retries`, `stream_max_retries` of the provider lower that). Unknown mode: exit 2 at once, nothing on
    stdout. Unknown session: exit 1, stderr only. SIGTERM: -15 in 0.1 s, its shell child gone too. With CODEX_HOME below
    TMPDIR its sandbox cannot start a command, and the run ends with 0 all the same. An answer that a filter stopped:
    exit 1, `turn.failed` with `reason: content_filter`. A command that it refuses is told on stderr only, exit 0.
kilo 7.7.7
    10 s alone and up to 40 s on a busy machine: 11 s of CPU, whatever is switched off. Prompt on stdin is exact. It
    reads a `kilo.json` of any folder above the workspace. A stream that breaks off ends the run at exit 0 with a
    `step_finish` whose `part.reason` is `other`: only `stop` is a good end. 401: exit 1 at once, `error` event; 500 the
    same with KILO_SESSION_RETRY_LIMIT=1. Unknown mode: exit 0, warning on stderr. Unknown session: exit 1, stderr only.
    `step_finish` counts one request: they add up. SIGTERM: -15; the shell child goes on, in a session of its own. The
    list of modes has many lines of JSON between the modes, which end in `(primary)`, `(subagent)` or `(all)`. A filter:
    exit 1, `error` named ContentFilterError. A tool call that the mode's rules deny: exit 0, `tool_use` whose state is
    `error`, "The user has specified a rule"; tools that are denied as a whole are not offered.
qwen 0.15.10
    Starts itself a second time; SIGTERM ends the outer process only, and the inner one goes on with its task and its
    shell child. With QWEN_CODE_NO_RELAUNCH=1 there is one process: exit 130 after up to 11 s, no child left. Prompt on
    stdin arrives with two line ends behind it, and is cut at 8 MiB; `-- -prompt` is not taken. OPENAI_API_KEY does for
    `--auth-type openai`. 401, a broken stream and the like: exit 0, `result` with `success` and `is_error: false`, and
    `[API Error: …]` at the *end* of the text. 500: silent retries for minutes, which nothing shortens. `result.usage`
    is the sum of the session, side requests (titles, memory) included; `assistant` events count one request each.
    Unknown mode: exit 1, help on stderr. Unknown session: exit 1, stderr only; sessions belong to the working
    directory. Its shell tool refuses a bare `sleep`. A filter: exit 0, and nothing tells of it. Tools that it would
    have to ask for are not offered, so `permission_denials` stays empty. A prompt that begins with `/` is a command
    where there is one of that name (`/summary`: exit 0, success, `num_turns: 0`); behind a line end never. `@path` as
    gemini.

Others, which are not pinned; the newest there were in 2026-11, with the same stub:

claude 2.1.197
    ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY. Prompt on stdin. `result` has `is_error`, and `success` as `subtype` also
    then; its `usage` and `total_cost_usd` are of the run alone, resumed or not; `assistant` events repeat a part of it.
    401 and 500: ten retries over minutes, told as `api_retry` (CLAUDE_CODE_MAX_RETRIES lowers them), then exit 1. As
    root `bypassPermissions` is refused (exit 1) without IS_SANDBOX=1. Unknown mode: exit 1. What its mode denies ends
    with 0 and stands in `result.permission_denials`. A refusal of the model: exit 1,
    `result` with `stop_reason: refusal`. SIGTERM: exit 143 at once; the shell child goes on. A prompt that begins with
    `/` is a command, also by stdin: exit 0, `num_turns: 0`, `Unknown command: /deploy`; behind a line end or a blank it
    is none, and arrives with it; `!`, `#` and `@` are nothing special. `modelUsage` has the titles that it asks for,
    too, `usage` has not. `assistant` events tell the tokens given before the answer, and 0 made.
gemini 0.61.0
    GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL, and `security.auth.selectedType: gemini-api-key` in ~/.gemini/settings.json
    (else exit 41; without the URL the key is enough, GOOGLE_API_KEY alone never). Prompt on stdin. 401: exit 145,
    `result` with `status: error`. Asks a small model first, which it counts. `stats` of a resumed run are its own.
    Ignores SIGTERM while a tool runs; with GEMINI_CLI_NO_RELAUNCH=true exit 0 (!) in 1 s without a `result`. The shell
    child goes on in both cases. A filter: four tries, then exit 0 with an `error` event, "The model response was
    blocked due to safety settings.", and `result` with `status: error`. In `plan` a write is offered and denied: exit
    0, `tool_result` with `error.type: policy_violation`, `result` with `status: success`. A prompt that begins with `/`
    is a command where there is one of that name, behind a line end never. `@path` adds a file of the workspace,
    anywhere in the prompt. Usage is in `result` only.
opencode 1.18.33
    As kilo, in 4 to 8 s, refusals too; a variable for the limit of retries was not found, so 500 is tried silently for
    minutes.
aider 0.86.2
    A prompt that begins with `/` or `!` is a command (a shell's); behind a line end it is none. A failure behind a
    first answer, edits that do not apply (`Only 3 reflections allowed, stopping.`), an empty answer: exit 0. With
    --yes-always it opens pages of its documentation in a browser. --restore-chat-history goes on with what stands in
    the workspace.
    OPENAI_API_BASE, AIDER_MODEL. Exit 0 whatever happens; `Tokens: … sent, … received.` only after an answer. 500: two
    minutes of retries. Unknown mode: exit 2; there is none for its own choice of a form of editing. Makes a repository.
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
S3RVER = Cli("s3rver", "s3rver", "3.7.1", "s3rver")
"""No agent: an object store with the S3 API, for the tests of shared archives."""
TYPESCRIPT = Cli("typescript", "typescript", "5.9.3", "tsc")
"""No agent: checks the types of the board's page."""


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
    """Install all of them, s3rver and TypeScript. Exit code 1 if one had to be left out."""
    missing = 0
    for cli in (*CLIS, S3RVER, TYPESCRIPT):
        try:
            print(f"    {cli.name} {cli.version}: {install(cli)}", flush=True)
        except CannotInstall as error:
            missing += 1
            print(f"    left out: {cli.name} {cli.version}: {error}", file=sys.stderr, flush=True)
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main())
