"""Settings: every MAESTRO_ variable (`maestro/docs/settings.md`), read, checked and with its source.

The environment wins over `config.toml` in the user's config folder (`$XDG_CONFIG_HOME/maestro`), whose keys are the
variables in lower case without their prefix (`max_concurrent = 8`). Imports the standard library and msgspec only,
because each command pays for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from maestro import setting_values
from maestro.folders import private_folder, socket_path as socket_path
from maestro.model.errors import Invalid

KILO_DEFAULT = Path("/usr/local/bin/kilo")
AGENTS_DIR_SYSTEM = Path("/etc/maestro/agents.d")
_FIELD_NAMES = {
    "agents_dir": "agents_dirs",
    "agent_timeout": "agent_timeout_s",
    "snapshot_retention": "snapshot_retention_days",
}
_VARIABLES = (
    *("home", "workspace_root", "redis_url", "log_level", "max_concurrent", "snapshot_retention", "kilocode_bin"),
    *("agent_timeout", "failsafe_mode", "agents_dir", "autostart", "namespace", "embedded_fsync"),
    *("segments_dir", "archive_url", "log_events_max", "webhook_secrets", "metrics_token", "node_labels"),
)
_SECRETS = {"webhook_secrets", "metrics_token"}
"""Settings whose values are shown nowhere, not even where they are wrong."""


class Settings(msgspec.Struct, frozen=True):
    """The settings in force.

    redis_url: None lets the first use of the store decide (`store/embedded/choice.py`).
    kilocode_bin: an absolute path where the program was found, else its name.
    agents_dirs: in order; a later folder overrides an earlier one.
    embedded_fsync: `always`; `everysec` is for benchmarks and takes effect when the embedded server starts.
    archive_url: of the archive that other nodes reach; None: each node has its own alone.
    log_events_max: more events than this are sealed into segments_dir, oldest first.
    webhook_secrets: keys that webhooks are signed with, each with one signature; empty: unsigned.
    node_labels: of this node, for `label:` in the targets of tasks.
    metrics_token: what whoever scrapes the metrics must send; None: nothing, on loopback only.
    sources: by variable (lower case, no prefix), its source: `default`, `environment` or the config file.
    """

    home: Path
    workspace_root: Path
    redis_url: str | None
    log_level: str
    max_concurrent: int
    snapshot_retention_days: int
    kilocode_bin: str
    agent_timeout_s: int
    failsafe_mode: bool
    agents_dirs: tuple[Path, ...]
    autostart: bool
    namespace: str
    embedded_fsync: str
    segments_dir: Path
    archive_url: str | None
    log_events_max: int
    webhook_secrets: tuple[bytes, ...]
    metrics_token: str | None
    node_labels: tuple[str, ...]
    config_file: Path
    sources: dict[str, str]


class _Reader:
    """Reads one setting after the other from the environment or the config file, else takes its default."""

    def __init__(self, env: Mapping[str, str], cwd: Path | None, read: bool = True) -> None:
        self.env = env
        self.cwd = cwd
        self.sources: dict[str, str] = {}
        self.config_file = self._xdg("XDG_CONFIG_HOME", ".config") / "maestro" / "config.toml"
        self.file = _read_file(self.config_file) if read else {}

    def user_home(self) -> Path:
        home = self.env.get("HOME", "")
        if home.startswith("/"):
            return Path(home)
        try:
            return Path("~").expanduser()
        except RuntimeError:
            raise Invalid("this user has no home folder", "HOME", "set HOME") from None

    def _xdg(self, variable: str, below_home: str) -> Path:
        named = self.env.get(variable, "")
        return Path(named) if named.startswith("/") else self.user_home() / below_home

    def state_home(self) -> Path:
        return self._xdg("XDG_STATE_HOME", ".local/state") / "maestro"

    def agents_dirs(self) -> tuple[Path, ...]:
        return (AGENTS_DIR_SYSTEM, self.config_file.parent / "agents.d")

    def path(self, text: str) -> Path:
        """An absolute path: `~` expanded, `..` and `.` folded; symlinks stay, so that they can be refused."""
        if "\0" in text or "\n" in text:
            raise ValueError("has a NUL or a newline in it; name a plain path")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
            raise ValueError("is a URL; name a path of a file system, such as /mnt/maestro/segments")
        if text == "~" or text.startswith("~/"):
            text = f"{self.user_home()}{text[1:]}"
        if not text.startswith("/"):
            try:
                text = f"{self.cwd or Path.cwd()}/{text}"
            except FileNotFoundError:
                raise ValueError("is relative to a folder that is gone; name an absolute path") from None
        return Path(os.path.normpath(text))

    def binary(self, text: str) -> str:
        if "/" in text:
            return str(self.path(text))
        for folder in self.env.get("PATH", os.defpath).split(os.pathsep):
            candidate = Path(folder or ".", text)
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return str(candidate.absolute())
        return text

    def kilo(self) -> str:
        return str(KILO_DEFAULT) if os.access(KILO_DEFAULT, os.X_OK) else self.binary("kilo")

    def value(self, field: str, parse: Callable[[str], Any], default: Callable[[], Any]) -> Any:
        """The value of MAESTRO_<FIELD>; an empty variable counts as unset. Raises `Invalid` naming where it was set."""
        variable = f"MAESTRO_{field.upper()}"
        text = self.env.get(variable, "").strip()
        source, where = "environment", variable
        if not text and field in self.file:
            text, source, where = self.file[field], str(self.config_file), f"{self.config_file}: {field}"
        if not text:
            self.sources[field] = "default"
            return default()
        self.sources[field] = source
        try:
            return parse(text)
        except ValueError as bad:
            reason, _, mend = str(bad).partition("; ")
            is_secret = field in _SECRETS or (field == "archive_url" and set("@?") & set(text))
            told = "its value" if is_secret else repr(redact(text))
            raise Invalid(f"{told} {reason}", where, mend) from None


def load(env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """The settings of an environment.

    env: None for the process's own environment.
    cwd: the folder that relative paths are relative to.

    Raises `Invalid` in one line with the variable, its value and the remedy. Touches no folder: see `open_home`.
    """
    reader = _Reader(os.environ if env is None else env, cwd)
    value = reader.value
    home: Path = value("home", reader.path, reader.state_home)
    return Settings(
        home=home,
        workspace_root=value("workspace_root", reader.path, lambda: Path("/tmp/maestro-workspaces")),
        redis_url=value("redis_url", setting_values.url, lambda: None),
        log_level=value("log_level", setting_values.log_level, lambda: "INFO"),
        max_concurrent=value("max_concurrent", setting_values.whole(1, 4096, "4"), lambda: 4),
        snapshot_retention_days=value("snapshot_retention", setting_values.duration("d", 36_500), lambda: 7),
        kilocode_bin=value("kilocode_bin", reader.binary, reader.kilo),
        agent_timeout_s=value("agent_timeout", setting_values.duration("s", 31_536_000), lambda: 1800),
        failsafe_mode=value("failsafe_mode", setting_values.switch, lambda: False),
        agents_dirs=value("agents_dir", lambda text: (reader.path(text),), reader.agents_dirs),
        autostart=value("autostart", setting_values.switch, lambda: True),
        namespace=value("namespace", setting_values.namespace, lambda: "default"),
        embedded_fsync=value("embedded_fsync", setting_values.fsync, lambda: "always"),
        segments_dir=value("segments_dir", reader.path, lambda: home / "segments"),
        archive_url=value("archive_url", setting_values.archive_url, lambda: None),
        log_events_max=value("log_events_max", setting_values.whole(10_000, 10**9, "100000"), lambda: 100_000),
        webhook_secrets=value("webhook_secrets", setting_values.webhook_secrets, tuple),
        metrics_token=value("metrics_token", setting_values.token, lambda: None),
        node_labels=value("node_labels", setting_values.labels, tuple),
        config_file=reader.config_file,
        sources=reader.sources,
    )


def may_set(env: Mapping[str, str], fields: Iterable[str]) -> bool:
    """Whether an environment, or its config file, may set one of these fields; much cheaper than `load`."""
    if any(f"MAESTRO_{field.upper()}" in env for field in fields):
        return True
    return os.path.lexists(_Reader(env, None, read=False).config_file)


def show(settings: Settings) -> list[dict[str, Any]]:
    """Rows {name, value, source} for `config show`, one for each variable; secrets in URLs are redacted."""
    return [
        {"name": f"MAESTRO_{field.upper()}", "value": _shown(settings, field), "source": source}
        for field, source in settings.sources.items()
    ]


def reset(settings: Settings) -> Path | None:
    """Rename the config file to a backup beside it; the backup's path, or None where there was no file.

    Unsetting environment variables is up to the caller. The store, its recorded choice and workspaces stay.
    """
    return put_aside(settings.config_file)


def config_path(env: Mapping[str, str] | None = None) -> Path:
    """The path of the config file, for a reset of one that cannot be read."""
    return _Reader(os.environ if env is None else env, None, read=False).config_file


def put_aside(path: Path) -> Path | None:
    """Rename a config file to a free backup name; the new path, or None where there was no file."""
    number = 1
    while (backup := path.with_suffix(f".toml.before-reset-{number}")).exists():
        number += 1
    try:
        path.rename(backup)
    except FileNotFoundError:
        return None
    return backup


def redact(text: str) -> str:
    """The text with passwords in URLs as `***`. Greedy up to the last @, as a password may hold an unescaped one."""
    text = re.sub(r"://([^:@/\s]*):\S*@", r"://\1:***@", text)
    return re.sub(r"([?&][a-z_]*(?:password|secret|token)=)[^&#\s]*", r"\1***", text, flags=re.IGNORECASE)


def open_home(settings: Settings) -> Path:
    """MAESTRO_HOME, created 0700 if absent and made 0700 otherwise. Raises `Refused`, `Invalid` as `private_folder`."""
    return private_folder(settings.home, "MAESTRO_HOME", tighten=True)


def open_workspace_root(settings: Settings) -> Path:
    """MAESTRO_WORKSPACE_ROOT, created 0700 if absent. Raises `Refused`, `Invalid` as `private_folder`."""
    if settings.workspace_root == Path("/"):
        raise Invalid("the root of the file system cannot hold workspaces", "MAESTRO_WORKSPACE_ROOT", "name a folder")
    return private_folder(settings.workspace_root, "MAESTRO_WORKSPACE_ROOT")


def _read_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as failure:
        raise Invalid(f"cannot be read: {failure}", str(path), "mend it, or remove it") from None
    import tomllib  # imported only where there is a file to parse

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise Invalid(f"not valid TOML: {bad}", str(path), "mend it, or remove it") from None
    for key, value in table.items():
        if key not in _VARIABLES:
            from maestro.model.ids import nearest

            near = nearest(key.lower().removeprefix("maestro_"), _VARIABLES)
            asked = f"did you mean {near[0]}? " if near else ""
            raise Invalid(f"unknown key {key!r}", str(path), f"{asked}known are {', '.join(_VARIABLES)}")
        if not isinstance(value, str | int):
            raise Invalid(f"{value!r} is no text, number or true/false", f"{path}: {key}", "give one plain value")
    return {key: str(value).strip() for key, value in table.items()}


def _shown(settings: Settings, field: str) -> Any:
    value = getattr(settings, _FIELD_NAMES.get(field, field))
    if field in _SECRETS:
        told = f"*** ({len(value)})" if isinstance(value, tuple) else "***"
        return told if value else ""
    if isinstance(value, tuple):
        return ("," if field == "node_labels" else os.pathsep).join(map(str, value))
    if isinstance(value, Path):
        return str(value)
    return redact(value) if isinstance(value, str) else value
