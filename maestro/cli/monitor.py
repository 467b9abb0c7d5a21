"""`maestro monitor`: watch everything, alerts, their deliveries, metrics."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import DURATION_HELP, CountedOption, FormatOption, duration, examples
from maestro.cli.printer import Row
from maestro.model.errors import Invalid, StoreAway
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="monitor", help="Watch agents, queue and nodes; alerts; metrics.")

ALERTS = (
    Column("id", "ALERT"),
    Column("severity", "SEVERITY", leaves=3),
    Column("what", "WHAT", wraps=True, leaves=4),  # the id says as much; why it is, nothing else does
    Column("why", "WHY", wraps=True),
    Column("since", "SINCE", printer.moment, leaves=1),
    Column("state", "STATE", leaves=2),
    Column("command", "WHAT HELPS", below=True),
)
DELIVERIES = (
    Column("alert", "ALERT"),
    Column("of", "TELLS", leaves=3),
    Column("endpoint", "WEBHOOK", leaves=2),
    Column("state", "STATE", leaves=4),
    Column("attempts", "ATTEMPTS", leaves=1),
    Column("why", "WHY", wraps=True, leaves=5),
)
PORT_MAX = 65_535
AlertArgument = Annotated[
    str, typer.Argument(help="Id of an alert, as `monitor alerts` shows it.", autocompletion=completion.alerts)
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]


@app.command(
    "start",
    epilog=examples(
        "maestro monitor start",
        "maestro monitor start --alert-webhook https://example.org/hook --metrics-port 9464   # as a service",
        "maestro monitor start --once --quiet --format table   # in a crontab: silent while all is well",
        "maestro monitor start --once --alert-webhook https://example.org/hook                # from cron",
    ),
)
def start(
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            parser=duration("--interval", 1000),
            metavar="DURATION",
            help=f"Between two looks: {DURATION_HELP}.",
        ),
    ] = "30s",  # type: ignore[assignment]  # parsed as what a user gives
    alert_webhook: Annotated[
        list[str] | None, typer.Option("--alert-webhook", metavar="URL", help="Send alerts there. Repeatable.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Webhooks may be at private and loopback addresses.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option("--metrics-port", min=1, max=PORT_MAX, help="Serve metrics for Prometheus there.")
    ] = None,
    metrics_host: Annotated[
        str | None,
        typer.Option("--metrics-host", help="The address of that, 127.0.0.1; other than loopback needs a token."),
    ] = None,
    otlp: Annotated[
        str, typer.Option("--otlp", metavar="URL", help="Send traces to this OpenTelemetry collector.")
    ] = "",
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Look once, send what is due, print open alerts. Exit 0: none, but snoozed ones; 1: some; 4: refused, "
            "or no daemon runs and none may be started; 5: the store or the daemon is away.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="With --once: print nothing at exit 0, as cron has it.")
    ] = False,
    format: FormatOption = None,
) -> int:
    """Watch everything: a live screen on a terminal, elsewhere lines of JSON; until Ctrl-C or SIGTERM.

    Alerts are raised, and schedules fire, whether or not a monitor runs; it shows and sends them.
    """
    if once and metrics_port is not None:
        mend = "metrics are served while a monitor runs: leave one out"
        raise Invalid("both --once and --metrics-port", "monitor start", mend)
    idle = allow_private and not alert_webhook, metrics_host is not None and metrics_port is None
    _check_served(quiet and not once, *idle)
    if once:
        return _once(tuple(alert_webhook or ()), allow_private, otlp, (format, quiet))
    from maestro.cli.monitor_service import run  # trio, which only this command needs

    return run(
        interval_s=interval,
        webhooks=tuple(alert_webhook or ()),
        allow_private=allow_private,
        metrics=(metrics_host or "127.0.0.1", metrics_port),
        otlp=otlp,
        as_lines=printer.wants_json(format),
    )


def _check_served(quiet: bool, private: bool, host: bool) -> None:
    """Refuse options that would do nothing without another one."""
    for is_idle, option, needed in (
        (quiet, "--quiet", "--once"),
        (private, "--allow-private", "--alert-webhook URL"),
        (host, "--metrics-host", "--metrics-port PORT"),
    ):
        if is_idle:
            raise Invalid(f"{option} without {needed.split()[0]}", "monitor start", f"add {needed}, or leave it out")


class Held(answer.Progress):
    """Keeps what is told beside an answer until it is known whether anybody wants it."""

    def __init__(self) -> None:
        super().__init__()
        self._notes: list[p.Note] = []

    def tell(self, note: p.Note) -> None:
        """Keep a note."""
        self._notes.append(note)

    def tell_all(self) -> None:
        """Show what was kept."""
        for note in self._notes:
            super().tell(note)


def _once(webhooks: tuple[str, ...], allow_private: bool, otlp: str, how: tuple[str | None, bool]) -> int:
    """Look once; the exit code. how: the value of --format, and whether nothing is printed where all is well."""
    if webhooks or otlp:
        from maestro.cli.monitor_service import run_once

        store = run_once(webhooks, allow_private, otlp)
    else:
        look: list[Any] = []
        end = answer.carry_out(p.MonitorLook(), look.append)
        if isinstance(end, p.Failed):
            return end.exit_code
        store = end.data["store"]
    if not store["up"]:
        return printer.fail(f"the store is away: {store['why']}", StoreAway.exit_code)
    kept: list[Row] = []
    held = Held()
    listed = answer.carry_out(p.AlertList(limit=100_000), kept.append, held)
    if isinstance(listed, p.Failed):
        return listed.exit_code
    wants_attention = any(_state(row) == "open" for row in kept)
    if wants_attention:
        held.tell_all()
    format, quiet = how
    if wants_attention or not quiet:
        _show(kept, format)
    return int(wants_attention)


@app.command(
    "alerts",
    epilog=examples(
        "maestro monitor alerts", "maestro monitor alerts --all --limit 20", "maestro monitor alerts --undelivered"
    ),
)
def alerts(
    all: Annotated[bool, typer.Option("--all", help="Also those that are over, newest first.")] = False,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="What did not reach its webhook instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many alerts.")] = 100,
    counted: CountedOption = False,
    format: FormatOption = None,
) -> int:
    """The open alerts, worst and oldest first, each with the command that helps."""
    if undelivered and all:
        raise Invalid("both --undelivered and --all", "monitor alerts", "leave one out")
    if undelivered:
        command = p.AlertList(limit=limit, undelivered=True)
        return answer.rows(command, DELIVERIES, format, "nothing waits to be delivered", counted)
    kept: list[Row] = []
    if printer.wants_json(format):
        return answer.rows(p.AlertList(all, limit), ALERTS, format, counted=counted)
    end = answer.carry_out(p.AlertList(all, limit), kept.append)
    if isinstance(end, p.Failed):
        return end.exit_code
    _show(kept, format)
    if end.cut is not None:
        printer.tell(end.cut.line())
    return end.exit_code


@app.command(
    "ack",
    epilog=examples(
        "maestro monitor ack task_failed:01J9…",
        "maestro monitor ack A B --reason known",
        "maestro monitor ack webhook:1d5e0aa0a4cd17c1   # a webhook that is of no use any more",
    ),
)
def ack(
    alerts: Annotated[
        list[str], typer.Argument(help="Ids of alerts that tell of one event.", autocompletion=completion.momentary)
    ],
    reason: ReasonOption = "",
    format: FormatOption = None,
) -> int:
    """Resolve alerts that tell of one event (a task failed): somebody has seen them.

    webhook:ID gives a webhook up: it gets nothing more, and what waits for it is dropped.
    """
    kept: list[Row] = []
    end = answer.carry_out(p.AlertAcknowledge(alerts, reason), kept.append)
    if isinstance(end, p.Failed):
        return end.exit_code
    _show(kept, format)
    return end.exit_code


@app.command(
    "snooze", epilog=examples("maestro monitor snooze disk:vm-1 --for 2h", "maestro monitor snooze disk:vm-1 --for 0")
)
def snooze(
    alert: AlertArgument,
    for_: Annotated[
        float,
        typer.Option(
            "--for", parser=duration("--for"), metavar="DURATION", help=f"{DURATION_HELP}; 0 ends it: tell again."
        ),
    ],
    reason: ReasonOption = "",
    format: FormatOption = None,
) -> int:
    """Have nobody told of an alert for a while; it stays in the list."""
    return answer.one(p.AlertSnooze(alert, for_, reason), format)


@app.command("resend", epilog=examples("maestro monitor resend task_failed:01J9…"))
def resend(alert: AlertArgument, format: FormatOption = None) -> int:
    """Send again what webhooks have not got of an alert, with the same ids. A monitor sends it, soon."""
    return answer.rows(p.DeliveryResend(alert), DELIVERIES, format, "nothing of it waits to be delivered")


def _state(row: Row) -> str:
    """`open`, `snoozed`, or how it was resolved."""
    if row["resolved_at"]:
        return str(row["how"] or "resolved")
    return "snoozed" if row["snoozed"] else "open"


def _what_helps(row: Row) -> str | None:
    """The command that helps, which says in a comment what for: in a list it stands apart from its alert."""
    return None if row["resolved_at"] or not row["command"] else f"{row['command']}  # for {row['id']}"


def _show(rows: list[Row], chosen: str | None) -> None:
    if printer.wants_json(chosen):
        listed = printer.JsonRows()
        for row in rows:
            listed.add(row)
        listed.end()
        return
    told = [{**row, "state": _state(row), "command": _what_helps(row)} for row in rows]
    printer.write_table(ALERTS, told, "no alerts: nothing wants attention")
