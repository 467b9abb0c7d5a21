"""Real agents on a stage: a Maestro of its own, the model stub, and a type for each agent that is installed.

Types are what a user would write over the built-in adapters: where the program and the model are, and the name of the
key, whose value lies in a file. What the agents keep for themselves goes below the installation's folder.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.agents import clis
from tests.agents.stub.server import Stub
from tests.installation import Installation

KEY = "sk-stub-4f1d9c07aa5e"
"""What no log may show."""

_CODEX = """
model = "stub-model"
model_provider = "stub"

[model_providers.stub]
name = "stub"
base_url = "{url}"
env_key = "STUB_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""

_CODEX_MCP = """
[mcp_servers.maestro]
command = {maestro}
args = ["mcp"]
required = true
startup_timeout_sec = 60
env_vars = ["MAESTRO_RUN_SOCKET", "MAESTRO_DELEGATE"]
"""


def codex(stub: Stub, folder: Path) -> dict[str, Any]:
    """Its provider stands in a file of CODEX_HOME, which has to be outside of the run's TMPDIR."""
    home = folder / "codex"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(_CODEX.format(url=stub.url))
    return {"mode": "workspace-write", "env": {"CODEX_HOME": str(home)}, "secret_env": ["STUB_API_KEY"]}


def kilo(stub: Stub, folder: Path) -> dict[str, Any]:
    """Its provider stands in a variable. Without a limit of retries it would try a failing API for ever."""
    options = {"baseURL": stub.url, "apiKey": "{env:STUB_API_KEY}"}
    model = {"name": "m", "limit": {"context": 128000, "output": 8000}, "cost": {"input": 1, "output": 2}}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "stub", "options": options, "models": {"m": model}}
    config = {"provider": {"stub": provider}, "enabled_providers": ["stub"], "model": "stub/m", "small_model": "stub/m"}
    env = {"KILO_CONFIG_CONTENT": json.dumps(config), "KILO_SESSION_RETRY_LIMIT": "1"}
    return {"mode": "code", "env": env, "secret_env": ["STUB_API_KEY"]}


def qwen(stub: Stub, folder: Path) -> dict[str, Any]:
    """Its provider is told by the variables of OpenAI's clients."""
    env = {"OPENAI_BASE_URL": stub.url, "OPENAI_MODEL": "stub-model"}
    return {"mode": "yolo", "env": env, "secret_env": ["OPENAI_API_KEY"]}


TYPES: dict[str, Callable[[Stub, Path], dict[str, Any]]] = {"codex": codex, "kilo": kilo, "qwen": qwen}
THERE = clis.installed()


class Stage:
    """An installation with the types `codex`, `kilo`, `qwen`, as far as they are installed."""

    def __init__(self, place: Installation, stub: Stub) -> None:
        self.place = place
        self.stub = stub
        secrets = place.folder / "secrets"
        secrets.mkdir(mode=0o700)
        for name in ("STUB_API_KEY", "OPENAI_API_KEY"):
            (secrets / name).write_text(KEY + "\n")
        for name in THERE:
            self.variant(name, name)

    def variant(self, name: str, slug: str, **keys: Any) -> None:
        """A type of an agent with some keys of its own."""
        told = TYPES[name](self.stub, self.place.folder)
        secrets = str(self.place.folder / "secrets")
        keys = {"adapter": name, "bin": str(THERE[name].path), "secrets_dir": secrets, **told, **keys}
        self.place.agent_type(slug, **keys)

    def with_mcp(self, name: str, slug: str, **keys: Any) -> None:
        """A type of an agent that starts `maestro mcp`, and the agent `w`, a shell, that it can delegate to."""
        maestro = str(Path(sys.executable).parent / "maestro")
        self.place.agent_type("w", mode="script", adapter="shell")
        self.place.json("agent", "assign", "w")
        if name == "qwen":
            servers = {"maestro": {"command": maestro, "args": ["mcp"], "trust": True}}
            file = {"path": "{workspace}/.qwen/settings.json", "content": json.dumps({"mcpServers": servers})}
            keys["files"] = [file]
        elif name == "kilo":
            env = kilo(self.stub, self.place.folder)["env"]
            servers = {"maestro": {"type": "local", "command": [maestro, "mcp"], "enabled": True}}
            config = {**json.loads(env["KILO_CONFIG_CONTENT"]), "mcp": servers}
            keys["env"] = {**env, "KILO_CONFIG_CONTENT": json.dumps(config)}
        self.variant(name, slug, **keys)
        if name == "codex":  # whose table of servers stands in the file that `variant` has just written
            with (self.place.folder / "codex" / "config.toml").open("a") as file_of_codex:
                file_of_codex.write(_CODEX_MCP.format(maestro=json.dumps(maestro)))

    def work(self, agent: str, prompt: str, *words: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Dispatch a prompt and wait: the exit code, the task, its last run."""
        done = self.place.run("task", "dispatch", prompt, "--to", agent, "--sync", *words, timeout=240)
        assert done.stdout, (done.returncode, done.stderr)
        task = json.loads(done.stdout)
        return done.returncode, task, task["runs"][-1]

    def log(self, run: dict[str, Any]) -> str:
        """All that a run printed, as it was kept."""
        return Path(run["log"]).read_text()


def said_by(mark: str) -> list[int]:
    """The processes whose command line holds a mark."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found
