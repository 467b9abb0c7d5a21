"""Chooses the store of this installation once, and records the choice in MAESTRO_HOME/store.json for good.

A configured URL is used exactly, and fails if it cannot be used. Without one, the first use takes a safe server at
localhost:6379, else the embedded server. If the recorded server is away, that is an error and no reason to begin a
second history elsewhere.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from maestro.config import Settings, open_home, redact
from maestro.durable import sync_folder
from maestro.model.errors import Invalid, StoreAway
from maestro.store.embedded import embedded_server
from maestro.store.redis.resp import ErrorReply, dial
from maestro.store.redis.safety import checks, gather

LOCAL_URL = "redis://localhost:6379"
PROBE_S_MAX = 0.5
LOADING_S_MAX = 30.0


class Choice(msgspec.Struct, frozen=True):
    """The chosen store.

    kind: `set` by the variable, `server` (a safe one found running) or `embedded`.
    why: the reason in one line, for `doctor`.
    """

    kind: Literal["set", "server", "embedded"]
    url: str
    why: str = ""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["server", "embedded"]
    url: str = ""
    why: str = ""


def choose(settings: Settings, local_url: str = LOCAL_URL) -> Choice:
    """The store of these settings; the first call without a URL decides and records it. Starts nothing.

    local_url: where a running server is looked for. Raises `Invalid` where the record cannot be read, and as
    `open_home`.
    """
    if settings.redis_url is not None:
        return Choice("set", settings.redis_url, f"set by {settings.sources.get('redis_url', 'environment')}")
    known = recorded(settings)
    if known is not None:
        return known
    path = open_home(settings) / "store.json"
    try:
        _record_first(path, _decide(settings.home, local_url))
    except OSError as failure:
        raise StoreAway(f"the choice of the store cannot be recorded: {failure.strerror}", str(path)) from None
    return choose(settings, local_url)


def recorded(settings: Settings) -> Choice | None:
    """The choice recorded by an earlier use, None before the first one. Raises `Invalid` where it cannot be read."""
    path = settings.home / "store.json"
    try:
        record = msgspec.json.decode(path.read_bytes(), type=_Record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as failure:
        mend = 'write {"kind":"embedded"} into it, or remove it to have the store chosen again'
        raise Invalid(f"the recorded choice of the store cannot be read: {failure}", str(path), mend) from None
    url = embedded_server.url(settings.home) if record.kind == "embedded" else record.url
    return Choice(record.kind, url, record.why)


def ensure(settings: Settings, chosen: Choice) -> str:
    """The URL to connect to; starts the embedded server if it is chosen and not running.

    Raises as `embedded_server.ensure`.
    """
    if chosen.kind != "embedded":
        return chosen.url
    return embedded_server.ensure(settings.home, settings.embedded_fsync)


def _decide(home: Path, local_url: str) -> _Record:
    if (home / "store" / "data").exists():
        return _Record("embedded", why="its data is there")
    problem = _unusable(local_url)
    if problem:
        return _Record("embedded", why=f"{redact(local_url)}: {problem}")
    return _Record("server", local_url, f"{redact(local_url)} was running and safe")


def _unusable(url: str) -> str:
    """Why the server at this URL must not be used, "" if it may be. Waits while the server loads its data."""
    deadline = time.monotonic() + LOADING_S_MAX
    try:
        with dial(url, PROBE_S_MAX) as wire:
            while (facts := gather(wire.call))["loading"] != "0" and time.monotonic() < deadline:
                time.sleep(0.05)
    except ErrorReply as refused:
        return f"answers {refused}"
    except OSError as away:
        return f"no answer ({away.strerror or away})"
    return "; ".join(check.detail for check in checks(facts, "server") if not check.ok and check.level == "refuse")


def _record_first(path: Path, record: _Record) -> None:
    """Write the record unless another process already did: creating a hard link never replaces a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(record) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass
    finally:
        part.unlink()
    sync_folder(path.parent)
