"""Names that users choose, and ids: which strings can be one, and how the id of a run is made and read.

A run is named `<task>-<slot>.<attempt>`. A task's id may contain `-` and `.` itself, so only the last `-` parts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from maestro.model.errors import Invalid

ID_CHARS_MAX = 64
LIKE_MAX = 3
LABEL = "label:"
TEXT_BYTES_MAX = 512
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_id(value: str) -> bool:
    """Whether a text can be an id."""
    return _ID.fullmatch(value) is not None


def check_id(value: str, what: str) -> str:
    """The value, if it can be an id. what: `agent`, `task`, `type` or `node`, for the message. Raises Invalid."""
    if is_id(value):
        return value
    raise Invalid(
        f"{shown(value)} is no {what} id",
        mend=f"use 1 to {ID_CHARS_MAX} letters, digits, '.', '_' or '-', beginning with a letter or digit",
    )


def check_text(value: str, what: str) -> str:
    """The value, if it is a line of printable text of at most 512 bytes that is not empty. Raises Invalid."""
    if value and value.isprintable() and len(value.encode("utf-8", "surrogatepass")) <= TEXT_BYTES_MAX:
        return value
    raise Invalid(f"{shown(value)} is no {what}", mend=f"use one printable line of 1 to {TEXT_BYTES_MAX} bytes")


def check_priority(value: int | None) -> int | None:
    """The value, if it is None or 1 (most urgent) to 5. Raises Invalid."""
    if value is None or (1 <= value <= 5 and not isinstance(value, bool)):
        return value
    raise Invalid(f"priority {value} is out of range", mend="use 1 (most urgent) to 5")


SHORT_CHARS_MAX = 4


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> list[str]:
    """Those of the known names that somebody may have meant who typed another one: the likeliest first, at most three.

    likeness: from 0 to 1; ids that are made of a time are all alike, and want more.
    """
    from difflib import SequenceMatcher  # imported where something went wrong only

    typed, found = name.casefold(), []
    for each in known:
        other = each.casefold()
        same = SequenceMatcher(None, typed, other)
        if typed == other:
            found.append((2.0, each))
        elif len(typed) > 2 and other.startswith(typed):
            found.append((1.0, each))
        elif same.real_quick_ratio() >= likeness and same.quick_ratio() >= likeness and same.ratio() >= likeness:
            found.append((same.ratio(), each))
        elif _is_one_off(typed, other):
            found.append((likeness, each))
    found.sort(key=lambda one: (-one[0], one[1]))
    return [each for likely, each in found[:LIKE_MAX] if likely > found[0][0] - 0.1]


def _is_one_off(typed: str, other: str) -> bool:
    """Whether two short names differ in one character: half of `a1` and `a2` is alike, and few would be meant."""
    is_short = 1 < len(typed) == len(other) <= SHORT_CHARS_MAX
    return is_short and sum(one != two for one, two in zip(typed, other, strict=True)) == 1


def shown(value: str) -> str:
    """The value as it can stand in a one-line message: quoted, escaped, shortened."""
    text = ascii(value)
    return text if len(text) <= ID_CHARS_MAX + 16 else f"{text[:ID_CHARS_MAX]}...'"


def with_labels(names: Iterable[str]) -> list[str]:
    """The targets of a list in which each label stands behind what it narrows; in order, each once."""
    found: list[str] = []
    for name in names:
        if found and name.startswith(LABEL):
            found[-1] += f",{name}"
        else:
            found.append(name)
    return list(dict.fromkeys(found))


def run_id(task: str, slot: int, attempt: int) -> str:
    """The id of a run. slot: the number of the task's slot, from 0; attempt: of the slot's runs, from 1."""
    return f"{task}-{slot}.{attempt}"


def task_of_run(run: str) -> str:
    """The id of the task that a run belongs to; "" for what is no id of a run."""
    return run.rpartition("-")[0]


def slot_of_run(run: str) -> int:
    """The number of the slot, from 0, that a run belongs to. Raises ValueError for what is no id of a run."""
    return int(run.rpartition("-")[2].partition(".")[0])


def typed_instance(id: str) -> str:
    """The id of an instance as people type it: `review:3` for `review[3]`, whose brackets are patterns for a shell."""
    return f"{id[:-1].replace('[', ':')}" if id.endswith("]") else id
