"""The whole screen as lines, from the state of the view: as many as the terminal has, none wider. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maestro.cli.monitoring import parts
from maestro.cli.monitoring.layout import Part, shared
from maestro.cli.monitoring.pen import Pen, Piece
from maestro.cli.monitoring.view import Log, View, state_of
from maestro.cli.printer import seconds
from maestro.cli.run_words import money

Row = Mapping[str, Any]

STALE_S = 10.0
"""A look that is older is told to be."""
WIDTH_MIN, HEIGHT_MIN = 20, 4
AGENTS_MIN = 3
"""So many agents get room beside alerts, though they do nothing: a person moves among them."""

HELP = (
    ("q", "quit; in a log: back; Q quits everywhere"),
    ("j k, arrows", "move; PgUp and PgDn by pages, g and G to the ends"),
    ("Enter, Tab", "open the log of the chosen agent, and follow it"),
    ("1 to 9", "open the log of the agent with that number"),
    ("a f i s", "only active, failed, idle, stopped agents"),
    ("0, Esc", "all agents, as the same letter again"),
    ("in a log", "j, k, PgUp, PgDn, g move; G follows again"),
    ("", "Tab or n: the next agent; p: the one before"),
    ("Ctrl-L", "draw all anew"),
    ("Ctrl-Z", "to the shell; fg comes back"),
)


def frame(view: View, pen: Pen, height: int, now: float) -> list[str]:
    """The lines of the screen. now: on the clock of the view's looks."""
    if height < HEIGHT_MIN or pen.width < WIDTH_MIN:
        return [pen.line("maestro: the terminal is too small")][:height]
    top = _header(view, pen, now)[: height - 2]
    bottom = _footer(view, pen)
    room = height - len(top) - 1
    if view.help:
        body = [pen.line(Piece("KEYS", "bold")), *(pen.line(f"  {keys:<13}", what) for keys, what in HELP)]
    elif view.log is not None:
        body = _log(view, view.log, pen, room, now)
    elif view.look is None:
        body = [pen.line("looking …" if not view.problem else "")]
    else:
        body = _parts(view, view.look, pen, room, view.server_time(now))
    body = body[:room]
    return [*top, *body, *[""] * (room - len(body)), bottom]


def _header(view: View, pen: Pen, now: float) -> list[str]:
    look = view.look
    lines = []
    if look is not None:
        store: Row = look.get("store") or {}
        count = look.get("alerts_open")
        at = view.server_time(now)
        lines.append(
            pen.line(
                Piece("maestro", "bold"),
                f"  {look['namespace']}",
                f"  {look['node']}  ",
                Piece("alerts ?" if count is None else f"{count} alert{'' if count == 1 else 's'}", _of(bool(count))),
                "  ",
                Piece("store up" if store.get("up") else "store away", "" if store.get("up") else "alarm"),
                f"  position {look['position']}",
                f"  {_clock(at)}",
            )
        )
        lines.append(_usage(look, pen))
        if store.get("why"):
            lines.append(pen.line(Piece(f"! {store['why']}", "alarm")))
    age = now - view.looked
    if view.problem:
        old = f" (what you see is {seconds(age)} old)" if look is not None else ""
        lines.append(pen.line(Piece(f"! {view.problem}{old}", "alarm")))
    elif look is not None and age > STALE_S:
        lines.append(pen.line(Piece(f"! the daemon has not answered for {seconds(age)}", "yellow")))
    return lines


def _of(is_bad: bool) -> str:
    return "alarm" if is_bad else ""


def _clock(at: float) -> str:
    whole = int(at) % 86_400
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}Z"


def _usage(look: Row, pen: Pen) -> str:
    usage: Row | None = look.get("usage")
    if usage is None:
        return pen.line(Piece("usage not known", "dim"))
    today, hour, total = (usage[name] for name in ("today", "hour", "total"))
    monitors = look.get("monitors") or ()
    return pen.line(
        Piece("used ", "dim"),
        f"today {amount(today['tokens'])} tokens, cost {money(today['cost']) if today['cost'] else '0'}",
        f"  last hour {money(hour['cost']) if hour['cost'] else '0'}",
        Piece(f"  in all {amount(total['tokens'])}, {money(total['cost']) if total['cost'] else '0'}", "dim"),
        Piece(f"  {len(monitors)} monitors" if len(monitors) > 1 else "", "dim"),
    )


def amount(count: float) -> str:
    """A count, shortly: 950, 12k, 3.4M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return f"{count:.0f}"


def _parts(view: View, look: Row, pen: Pen, room: int, now: float) -> list[str]:
    """Agents, what waits, workflows, alerts and nodes, as the room allows: agents that do nothing and snoozed alerts
    get what those leave that want attention.
    """
    rows = len(view.agents())
    busy = sum(state_of(row) in ("active", "failed") for row in view.agents())
    first = max(1, min(rows, max(busy, AGENTS_MIN)))
    queue: Row = look.get("queue") or {}
    runs = sum(map(parts.run_lines, look.get("runs") or ()))
    known = len(look.get("alerts") or ())
    alerts = min(int(look.get("alerts_open") or 0), known)
    snoozed = known - alerts
    nodes = len(look.get("nodes") or ())
    wanted = [
        Part("agents", first, weight=3),
        Part("alerts", 2 * alerts + bool(snoozed), weight=3),
        Part("queue", min(int(queue.get("waiting") or 0), len(queue.get("first") or ())), weight=2),
        Part("runs", runs, weight=2),
        Part("nodes", nodes if nodes > 1 else 0),
        Part("idle", rows - first if rows else 0, weight=3, after="alerts" if known else "agents"),
        Part("snoozed", 2 * snoozed - bool(snoozed), after="idle"),
    ]
    given = shared(room, [part for part in wanted if part.name != "alerts" or known])
    given["agents"] += given.pop("idle")
    given["alerts"] = given.get("alerts", 0) + given.pop("snoozed")
    drawn = {
        "agents": lambda lines: [parts.agents_heading(view, pen), *_agents(view, pen, lines, now)],
        "alerts": lambda lines: [parts.alerts_heading(look, pen), *parts.alerts(look, pen, lines, now)],
        "queue": lambda lines: [parts.queue_heading(look, pen), *parts.queue(look, pen, lines, now)],
        "runs": lambda lines: [parts.runs_heading(look, pen), *parts.runs(look, pen, lines, now)],
        "nodes": lambda lines: [parts.nodes_heading(look, pen), *parts.nodes(look, pen, lines)],
    }
    order = ("alerts", "agents", "queue", "runs", "nodes")
    return [line for name in order if given.get(name) for line in drawn[name](given[name] - 1)]


def _agents(view: View, pen: Pen, room: int, now: float) -> list[str]:
    if not view.agents():
        what = f"no agent is {view.only}" if view.only else "no agent: maestro agent assign makes one"
        return [pen.line(Piece(f"   {what}", "dim"))][:room]
    return parts.agents(view, pen, room, now)


def _log(view: View, log: Log, pen: Pen, room: int, now: float) -> list[str]:
    """The log of an agent, with what that does."""
    row = next((row for row in view.agents() if row["id"] == log.agent), None)
    doing = (row or {}).get("doing") or (row or {}).get("did") or {}
    state = state_of(row) if row else "not listed"
    since = parts.ago(doing.get("since") or doing.get("at"), view.server_time(now))
    where = f"  {log.above} lines below" if log.above else ""
    head = pen.line(
        Piece(f"LOG {log.agent}", "bold"),
        f"  {state} {since}  {doing.get('title') or ''}",
        Piece(where, "yellow"),
    )
    view.room = max(1, room - 1)
    if log.problem:
        return [head, pen.line(Piece(f"   {log.problem}", "red"))]
    if not log.lines:
        return [head, pen.line(Piece("   nothing printed yet" if log.known else "   reading …", "dim"))]
    return [head, *(pen.line(line) for line in log.shown(room - 1))]


def _footer(view: View, pen: Pen) -> str:
    """The keys, as many as there is room for."""
    if not view.has_keys:
        keys = "standard input is no terminal, so there are no keys; Ctrl-C ends"
    elif view.help:
        keys = "any key goes back"
    elif view.log is not None:
        keys = "q back  Tab next agent  j/k PgUp/PgDn move  G follow  ? help"
    else:
        keys = "q quit  ? help  j/k move  Enter log  a/f/i/s filter"
    return pen.line(Piece(keys, "dim"))
