"""`maestro events`: the log for other programs, live, as JSON Lines, and its schema."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from maestro.cli import answer, printer
from maestro.cli.column import Column
from maestro.cli.options import CountedOption, FormatOption, TypeOption, examples
from maestro.cli.printer import Row
from maestro.cli.text_input import chunks
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="events", help="The log as a stream for others.")

EVENTS = (
    Column("seq", "SEQ"),
    Column("time", "TIME", printer.moment, leaves=2),
    Column("type", "EVENT"),
    Column("subject", "SUBJECT", cuts="end"),
    Column("actor", "ACTOR", leaves=1),
    Column("data", "DATA", cuts="end"),
)
POSITION_MAX = 2**53


@app.command(
    "tail",
    epilog=examples(
        "maestro events tail --follow --type run.ended",
        "maestro events tail --group billing --follow | ./ship",
        "maestro events tail --group billing --follow --acknowledge  # maestro help events",
    ),
)
def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
    from_: Annotated[
        int | None, typer.Option("--from", min=0, max=POSITION_MAX, help="Begin at this position.")
    ] = None,
    type: TypeOption = None,
    group: Annotated[
        str | None, typer.Option("--group", help="A durable consumer: goes on where this group stopped.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, max=1_000_000, help="At most so many; the newest 100 without --from, --group and --limit."
        ),
    ] = None,
    acknowledge: Annotated[
        bool,
        typer.Option(
            "--acknowledge",
            help="With --group and --follow: an event counts as taken when its seq was read from standard input.",
        ),
    ] = False,
    counted: CountedOption = False,
    format: FormatOption = None,
) -> int:
    """The newest events, or those from a position on; with --follow the coming ones too."""
    if group is not None and from_ is not None:
        raise Invalid("both --group and --from", "events tail", "a group keeps its own position")
    if acknowledge and (group is None or not follow):
        raise Invalid("it goes with --group and --follow", "--acknowledge", "give both, or leave it out")
    command = p.EventsTail(follow, from_, tuple(type or ()), group, limit)
    if group is not None:
        return _consume(command, format, Acknowledgements() if acknowledge else None)
    if follow:
        return answer.stream(command, EVENTS, format)
    return answer.rows(command, EVENTS, format, "no events", counted)


def _consume(command: p.EventsTail, format: str | None, acknowledgements: Acknowledgements | None) -> int:
    """Print what a durable group has not taken yet, batch by batch; the next request takes the batch printed before.

    So a reader whose pipe breaks gets its last batch again. One that dies with something that it has read, and not yet
    dealt with, needs acknowledgements: the batch before is taken only as far as it has said.
    """
    listed, as_json = printer.JsonRows(), printer.wants_json(format)
    count = last = 0

    def take(row: Row) -> None:
        nonlocal count, last
        count, last = count + 1, row["seq"]
        if not as_json:
            printer.write_line("  ".join(printer.cell(column, row) for column in EVENTS))
        elif command.follow:
            printer.write_json(row)
        else:
            listed.add(row)

    progress, limit = answer.Progress(), command.limit
    code = 0
    while True:
        end = answer.carry_out(command, take, progress)
        code = end.exit_code or code
        if not isinstance(end, p.Done) or end.data["end"]:
            break
        printer.flush()
        left = None if limit is None else limit - count
        if acknowledgements is not None and not acknowledgements.reach(last):
            taken = msgspec.structs.replace(command, taken=acknowledgements.position, limit=0)
            return answer.carry_out(taken, take, progress).exit_code or code
        command = msgspec.structs.replace(command, taken=end.data["position"], limit=left)
    if isinstance(end, p.Done) and as_json and not command.follow:
        listed.end()
    return code


class Acknowledgements:
    """The positions that a reader of events writes to standard input, one a line. position: the last one, or 0."""

    def __init__(self) -> None:
        self._lines = _lines()
        self.position = 0

    def reach(self, seq: int) -> bool:
        """Read on until a position is acknowledged; whether it was, before the input ended.

        Raises Invalid for a line that is no position of an event that was printed.
        """
        while self.position < seq:
            line = next(self._lines, None)
            if line is None:
                return False
            if not (line.isascii() and line.isdigit() and int(line) <= seq):
                what = f"{line[:40]!r} is no seq of an event that was printed"
                raise Invalid(what, "standard input", "write one a line, in their order; the last one counts for all")
            self.position = max(self.position, int(line))
        return True


def _lines() -> Iterator[str]:
    """The lines of standard input, without blanks around them; none where there is no input."""
    left = b""
    for chunk in chunks(sys.stdin.buffer) if sys.stdin is not None else ():
        *whole, left = (left + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace").strip() for line in whole)
    if left.strip():
        yield left.decode("utf-8", "replace").strip()


@app.command(
    "export",
    epilog=examples(
        "maestro events export > log.jsonl",
        "maestro events export --cloudevents",
        "maestro events export --otlp http://localhost:4318",
    ),
)
def export(
    cloudevents: Annotated[bool, typer.Option("--cloudevents", help="As CloudEvents 1.0.")] = False,
    from_: Annotated[int, typer.Option("--from", min=0, max=POSITION_MAX, help="Begin at this position.")] = 0,
    to: Annotated[int | None, typer.Option("--to", min=0, max=POSITION_MAX, help="The last position.")] = None,
    otlp: Annotated[
        str | None,
        typer.Option("--otlp", metavar="URL", help="As spans of traces, to this collector (OTLP over HTTP)."),
    ] = None,
) -> int:
    """All events as JSON Lines on standard output; with --otlp as traces, to a collector."""
    if otlp is not None:
        if cloudevents:
            raise Invalid("both --otlp and --cloudevents", "events export", "use one of them")
        return _traces(otlp, from_, to)
    command = p.EventsExport(cloudevents, from_, to)
    return answer.carry_out(command, lambda row: printer.write(printer.json_of(row) + b"\n")).exit_code


def _traces(url: str, first: int, last: int | None) -> int:
    """Send a range as traces; prints how many spans that were."""
    import trio

    from maestro import config
    from maestro.monitor import traces
    from maestro.monitor.daemon_link import DaemonLink

    if last is not None and last < first:
        raise Invalid("the range of positions is empty", "events export", "--to names the last position")
    past = trio.run(traces.export, url, DaemonLink(config.load(), here=True), first, last)
    printer.write_json({name: getattr(past, name) for name in past.__struct_fields__ if name != "exit_code"})
    printer.flush()
    if past.incomplete:
        printer.tell(f"{past.incomplete} spans began before position {first}: an earlier --from has them whole")
    if past.open:
        printer.tell(f"{past.open} spans have not ended at position {past.position}: they are not sent yet")
    if past.rejected:
        printer.tell(f"the collector declined {past.rejected} spans")
    return past.exit_code


@app.command("schema", epilog=examples("maestro events schema > events.schema.json"))
def schema() -> int:
    """The JSON Schema of all events."""
    from replayers.schema import schema as published

    printer.write_json(published())
    return 0
