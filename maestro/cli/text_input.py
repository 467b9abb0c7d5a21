"""Reads text for a command from a file or from standard input: whole, UTF-8, of a bounded size."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maestro.model.errors import Invalid, NotFound

PROMPT_BYTES_MAX = 64 * 1024 * 1024
WAKE_S = 0.5
CHUNK_BYTES = 1 << 20
DASH = "for a literal -, pipe one in: printf %s -"


def read_prompt(prompt: str) -> str:
    """The text of a prompt argument: itself, `-` for standard input, `@file` for a file's content, `@@x` for `@x`.

    Raises Invalid for an empty text, one above the limit or one that is not UTF-8, NotFound for a missing file.
    """
    if prompt == "-":
        prompt = read_text("-", "the prompt", PROMPT_BYTES_MAX)
    elif prompt == "@":
        raise Invalid("no file behind the @", "the prompt", "name it as in @prompt.md; @@ is a literal @")
    elif prompt.startswith("@@"):
        prompt = prompt[1:]
    elif prompt.startswith("@"):
        try:
            prompt = read_text(prompt[1:], "the prompt", PROMPT_BYTES_MAX)
        except NotFound as error:
            raise NotFound(error.what, error.where, "a text that begins with @ is written with @@") from None
    if not prompt.strip():
        raise Invalid("the prompt is empty", mend=f"say what to do; `-` reads standard input, `@file` a file; {DASH}")
    return prompt


def read_text(path: str, what: str, limit: int) -> str:
    """The text of a file, or of standard input for `-`. limit: bytes. Raises as `read_prompt`."""
    where = f"{what} from {'standard input' if path == '-' else path}"
    data = _read(path, where, limit + 1)
    if len(data) > limit:
        raise Invalid(f"above the limit of {limit} bytes", where, "put the bulk into a file of the workspace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"not UTF-8 at byte {error.start}", where, "convert it to UTF-8") from None


def chunks(source: IO[bytes]) -> Iterator[bytes]:
    """What can be read from a pipe or a terminal, nothing of which was read before, up to its end.

    A Ctrl-C that comes just before a read begins is heard WAKE_S later, not with what is read next.
    """
    handle = source.fileno()
    while True:
        if select.select([handle], [], [], WAKE_S)[0]:
            chunk = os.read(handle, CHUNK_BYTES)
            if not chunk:
                return
            yield chunk


def read_up_to(source: IO[bytes], count: int) -> bytes:
    """The first bytes of `chunks`, not many more than are asked for."""
    data = bytearray()
    for chunk in chunks(source):
        data += chunk
        if len(data) >= count:
            break
    return bytes(data)


def _read(path: str, where: str, count: int) -> bytes:
    try:
        if path == "-":
            return b"" if sys.stdin is None else read_up_to(sys.stdin.buffer, count)
        with Path(path).open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        raise NotFound("no such file", where) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Invalid(str(reason), where, "name a file that can be read") from None
