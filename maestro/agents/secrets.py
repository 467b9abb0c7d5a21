"""Secrets of a run, looked up by name when it starts: a file of `secrets_dir`, else the daemon's environment.

Their values go into the run's environment and the list of what logs must not show, and nowhere else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from maestro.agents.schema import Definition
from maestro.model.errors import Refused

SECRET_BYTES_MAX = 64 * 1024


def resolve(definition: Definition, environment: Mapping[str, str]) -> dict[str, str]:
    """The value of each name in `secret_env`. Raises `Refused`, which names the secret and never its value."""
    return {name: _value(definition, name, environment) for name in definition.secret_env}


def _value(definition: Definition, name: str, environment: Mapping[str, str]) -> str:
    if definition.secrets_dir:
        value = _from_file(Path(definition.secrets_dir) / name)
        if value is not None:
            return value
    if name in environment:
        return environment[name]
    folder = definition.secrets_dir
    mend = f"write it to {folder}/{name}" if folder else f"set {name} where the daemon starts, or name a secrets_dir"
    raise Refused(f"secret {name} of type {definition.slug} is not there", where=definition.source, mend=mend)


def _from_file(file: Path) -> str | None:
    """The text of a secret's file without its last line end, None for no file. Links are followed: mounts use them."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"secret cannot be read: {error.strerror}", where=str(file), mend="check its owner") from None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("secret is no regular file", where=str(file), mend="replace it by a file")
        content = stream.read(SECRET_BYTES_MAX + 1)
    try:
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = "\0"
    if len(content) > SECRET_BYTES_MAX or "\0" in text:
        raise Refused("secret is too large or no text", where=str(file), mend="keep up to 64 KiB of UTF-8 text in it")
    return text
