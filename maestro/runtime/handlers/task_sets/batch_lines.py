"""The lines of a batch: each a JSON object with the options of `task dispatch` as its keys."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from maestro.model.duration import duration_forms, duration_ms
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.ids import nearest, shown, with_labels

LINE_BYTES_MAX = 80 * 1024 * 1024
"""A line with a prompt of 64 MiB, the most that a prompt may have."""
FIELDS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "prompt": str,
        "to": str | list[str],
        "timeout": float | str | None,
        "depends_on": str | list[str],
        "priority": int | None,
        "retries": int,
        "key": str | None,
        "trace": bool,
        "force": bool,
        "verify": str,
        "budget_tokens": int | None,
        "budget_cost": float | None,
    }
)


class BatchLine(msgspec.Struct):
    """One line: a task to dispatch, as it is written, and all that is wrong with how it is written.

    broken: it is no object at all.
    """

    number: int
    prompt: str = ""
    to: list[str] = []
    timeout: float | None = None
    depends_on: list[str] = []
    priority: int | None = None
    retries: int = 0
    key: str | None = None
    trace: bool = False
    force: bool = False
    verify: str = ""
    budget_tokens: int | None = None
    budget_cost: float | None = None
    errors: list[str] = []
    broken: bool = False


def read_line(number: int, raw: bytes) -> BatchLine:
    """A line as it is written."""
    line = BatchLine(number, errors=[])
    try:
        data: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BatchLine(number, errors=[f"not JSON: {error}"], broken=True)
    if not isinstance(data, dict):
        return BatchLine(number, errors=['not an object, as {"prompt": "…", "to": "…"}'], broken=True)
    for name, value in data.items():
        if name not in FIELDS:
            near = nearest(name.replace("-", "_"), FIELDS)
            meant = f"; did you mean {near[0]}?" if near else f"; the keys are {', '.join(FIELDS)}"
            line.errors.append(f"unknown key {shown(name)}{meant}")
            continue
        try:
            found = msgspec.convert(value, FIELDS[name])
        except msgspec.ValidationError as error:
            line.errors.append(f"{name}: {str(error)[:1].lower()}{str(error)[1:]}")
            continue
        if name == "timeout":
            line.timeout = _seconds(line, found)
        else:
            setattr(line, name, _names(line, name, found) if name in ("to", "depends_on") else found)
    line.errors += [f"{name} is missing" for name in ("prompt", "to") if name not in data]
    return line


def _seconds(line: BatchLine, value: float | str | None) -> float | None:
    """A number of seconds, or a duration as `--timeout` takes it."""
    if not isinstance(value, str):
        return value
    found = duration_ms(value)
    if found is None:
        line.errors.append(f"timeout: {shown(value)} is no duration; {duration_forms()}")
    return None if found is None else found / 1000


def _names(line: BatchLine, key: str, value: str | list[str]) -> list[str]:
    """Names as in `--to a,b`, or as a list; each once."""
    named = [name.strip() for name in (value.split(",") if isinstance(value, str) else value)]
    if not all(named) or (key == "to" and not named):
        line.errors.append(f"{key}: an empty name" if named else f"{key}: nobody is named")
    found = [name for name in named if name]
    return with_labels(found) if key == "to" else list(dict.fromkeys(found))


class BatchFile:
    """An open batch, which is read line by line, more than once. Raises NotFound, Invalid for what is no file."""

    def __init__(self, path: str, name: str) -> None:
        try:
            self._file = Path(path).open("rb")  # noqa: SIM115 - closed by `close`
        except FileNotFoundError:
            raise NotFound("no such file", name) from None
        except OSError as error:
            raise Invalid(str(error.strerror), name, "name a file that can be read") from None
        self._name = name
        self._state = self._stat()
        self._number = 0
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self.close()
            raise Invalid("not a regular file", name, "name a file, or `-` for standard input")

    def digest(self) -> str:
        """A name for what is in the file: the same content has the same."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()[:16]

    def rewind(self) -> None:
        """Go back to the first line."""
        self._file.seek(0)
        self._number = 0

    def some(self, lines: int, size: int) -> list[BatchLine]:
        """The next lines that are not empty, so many, or as many as have so many bytes; [] at the end.

        Raises Refused where the file was written to since it was opened: what was checked is not what is there.
        """
        found: list[BatchLine] = []
        while len(found) < lines and size > 0 and (raw := self._file.readline(LINE_BYTES_MAX + 1)):
            self._number += 1
            size -= len(raw)
            if len(raw) > LINE_BYTES_MAX:
                found.append(BatchLine(self._number, errors=[f"longer than {LINE_BYTES_MAX} bytes"], broken=True))
                while raw and not raw.endswith(b"\n"):
                    raw = self._file.readline(LINE_BYTES_MAX)
            elif raw.strip():
                found.append(read_line(self._number, raw.removeprefix(b"\xef\xbb\xbf")))
        if self._stat() != self._state:
            raise Refused("it changed while it was read", self._name, "give it again once it is written")
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _stat(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns
