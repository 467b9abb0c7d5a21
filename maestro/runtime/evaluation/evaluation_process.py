"""The process that evaluates templates, answers and schemas: these may exhaust it, and it is ended when they do.

`python -m maestro.runtime.evaluation.evaluation_process` reads requests from stdin and writes an answer to each to
stdout, as frames of MessagePack behind four bytes of length. It has no environment, little memory, and nothing to
reach.
"""

from __future__ import annotations

import resource
import signal
import sys
from typing import Any, Literal

import jinja2
import msgspec

from maestro.model.workflow.template import EMPTY, RESULT_MAX, Template, TemplateFailed
from maestro.printable_text import shown
from maestro.runtime.evaluation.answer import NoJson, parsed_answer

MEMORY_MAX = 512 * 1024 * 1024
FRAME_MAX = 64 * 1024 * 1024
PATIENCE_S = 60
"""How long one request may take where nobody ends the process before that, as its daemon was killed."""
PARSED = 1
"""The extension type of MessagePack for a text that stands for what it holds as JSON."""
NOTHING = 2
"""The one for the JSON of a step that told nothing."""
MISFIT_CHARS_MAX = 500

Kind = Literal["text", "script", "expression", "json", "schema"]


class Request(msgspec.Struct, array_like=True):
    """What is to be evaluated. text: a template or, for `json` and `schema`, an answer; values: what a template reads,
    by root, or the schema, as `schema`.
    """

    kind: Kind
    text: str
    values: dict[str, Any]


class Answer(msgspec.Struct, array_like=True):
    """The text or value; failed: why there is none. For `schema` the value says what does not fit, "" for nothing."""

    value: Any = None
    failed: str = ""


def answer(request: Request) -> Answer:
    """Evaluate one request."""
    try:
        value = _value(request)
        if len(msgspec.json.encode(value)) > RESULT_MAX:
            return Answer(failed=f"gives more than {RESULT_MAX >> 20} MiB")
        return Answer(value)
    except (TemplateFailed, NoJson) as error:
        return Answer(failed=error.what)
    except MemoryError:
        return Answer(failed="takes too much memory")
    except RecursionError:
        return Answer(failed="is nested too deeply")
    except (TypeError, ValueError, OverflowError) as error:  # no plain data: a generator, a loop's own object
        return Answer(failed=f"gives no plain value: {error}")


def _value(request: Request) -> Any:
    if request.kind == "json":
        return parsed_answer(request.text)
    if request.kind == "schema":
        return misfit(request.text, request.values["schema"])
    template = Template(request.text, request.kind)
    if template.problems:
        raise TemplateFailed(template.problems[0].what)
    if request.kind == "expression":
        return template.value(request.values)
    return template.render(request.values)


def misfit(text: str, schema: dict[str, Any]) -> str:
    """Why an answer does not fit a JSON Schema, and where; "" where it does."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        value = parsed_answer(text)
    except NoJson as error:
        return error.what
    validator = Draft202012Validator(schema, registry=Registry())  # an empty one: nothing is fetched from elsewhere
    try:
        found = best_match(validator.iter_errors(value))
    except Unresolvable as error:
        return f"its schema refers to what is not there: {shown(str(error))}"
    if found is None:
        return ""
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in found.absolute_path)
    return f"{shown(where.lstrip('.')) if where else 'the answer'}: {shown(found.message, MISFIT_CHARS_MAX)}"


def _parsed(code: int, data: memoryview) -> Any:
    """What a text holds as JSON; where it holds none, what says so when it is read."""
    if code == NOTHING:
        return EMPTY
    if code != PARSED:
        raise ValueError(f"unknown extension {code}")
    try:
        return parsed_answer(str(data, "utf-8", "replace"))
    except NoJson as error:
        return jinja2.StrictUndefined(hint=f"json: {error.what}")


def main() -> None:
    """Answer until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    decode = msgspec.msgpack.Decoder(Request, ext_hook=_parsed).decode
    patience_s = int(sys.argv[1]) if len(sys.argv) > 1 else PATIENCE_S
    while len(head := stdin.read(4)) == 4:
        data = stdin.read(int.from_bytes(head, "big"))
        signal.alarm(patience_s)  # the signal ends it in the midst of anything
        try:
            told = answer(decode(data))
        except MemoryError:
            told = Answer(failed="takes too much memory")
        data = msgspec.msgpack.encode(told)
        stdout.write(len(data).to_bytes(4, "big") + data)
        stdout.flush()
        signal.alarm(0)


if __name__ == "__main__":
    main()
