"""The parts of the screen as lines: agents, queue, workflows, alerts, nodes; each a heading and what there is room for.

Pure: rows of a look in, lines out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from maestro.cli.monitoring.pen import Pen, Piece, safe
from maestro.cli.monitoring.view import View, state_of
from maestro.cli.printer import seconds
from maestro.cli.run_words import WAITED, money, seconds_of
from maestro.model.ids import typed_instance

Row = Mapping[str, Any]
STATE_MARKS = {
    "active": ("▶", ">", "blue"),
    "failed": ("✘", "x", "red"),
    "idle": ("·", ".", ""),
    "stopped": ("■", "#", "dim"),
}
ID_MAX = 18
WIDE = 110
GIB, MIB = 1 << 30, 1 << 20
KINDS = {
    "dependency": "other tasks", "retry": "a retry", "paused": "a paused run", "agent": "an agent", "slot": "a slot",
    "workspace": "a workspace", "node": "a node", "ready": "their turn", "start": "their start",
}  # fmt: skip


def ago(time: Any, now: float) -> str:
    """How long ago a time of a row was; "" for none."""
    return seconds(max(0.0, now - seconds_of(time))) if time else ""


def heading(pen: Pen, title: str, *rest: Piece | str) -> str:
    """The heading of a part."""
    return pen.line(Piece(title, "bold"), *rest)


# ---- agents ----


def agents_heading(view: View, pen: Pen) -> str:
    """How many agents there are, and in which states."""
    counts: Row = (view.look or {}).get("agents_by_state") or {}
    pieces: list[Piece | str] = [f" {counts.get('all', 0)}"]
    for state in ("active", "failed", "idle", "stopped"):
        count = counts.get(state, 0)
        style = "alarm" if state == "failed" and count else "bold" if view.only == state else ""
        pieces += ["  ", Piece(f"{count} {state}", style)]
    if view.only:
        pieces += ["  ", Piece(f"only {view.only}", "yellow")]
    return heading(pen, "AGENTS", *pieces)


def agents(view: View, pen: Pen, room: int, now: float) -> list[str]:
    """An agent a line: what it does, since when, what it has cost, and its last line."""
    rows = view.window(room)
    width = min(ID_MAX, max((cell_len(safe(row["id"])) for _, row in rows), default=0))
    return [_agent(row, at - view.first, view.chosen == row["id"], pen, width, now) for at, row in rows]


def _agent(row: Row, place: int, chosen: bool, pen: Pen, width: int, now: float) -> str:
    fancy, plain, style = STATE_MARKS.get(state_of(row), ("?", "?", ""))
    doing, did = row.get("doing"), row.get("did")
    since = ago(doing["since"], now) if doing else ago(did["at"], now) if did else ""
    pieces = [
        Piece(f"{pen.mark('›', '>') if chosen else ' '}{place + 1 if place < 9 else ' '} "),
        Piece(pen.mark(fancy, plain) + " ", style),
        Piece(str(row["id"]), "bold" if doing else "", width),
        Piece(f" {state_of(row):<7}" if pen.width >= 60 else "", style),
        Piece(since, "", 5, right=True),
    ]
    if pen.width >= WIDE:
        cost = float((row.get("usage") or {}).get("cost") or 0)
        pieces.append(Piece(money(cost) if cost else "", "dim", 9, right=True))
        pieces.append(Piece(f"  {row.get('role') or ''}", "dim", 14))
    pieces.append(Piece("  "))
    return pen.line(*pieces, *_does(row, pen.width - 22 - width), style="chosen" if chosen else "")


def _does(row: Row, room: int) -> list[Piece]:
    """What an agent does or has done, and its last line; or what is wrong with it."""
    lines = row.get("lines") or []
    last = Piece(f"  {lines[-1]}", "dim") if lines else Piece("")
    doing, did = row.get("doing"), row.get("did")
    if not row.get("healthy", True) and row.get("reason") and row["state"] != "stopped":
        return [Piece(str(row["reason"]), "red")]
    if doing:
        step = f"{doing['step']}: " if doing.get("step") else ""
        start = "" if doing["started"] else "starts: "
        again = f"attempt {doing['attempt']}: " if doing["attempt"] > 1 else ""
        title = f"{start}{again}{step}{doing['title']}"
        return [Piece(title, "", min(cell_len(safe(title)), max(16, room * 2 // 5)) if lines else 0), last]
    if row["state"] == "stopped":
        return [Piece(str(row.get("reason") or "stopped"), "dim")]
    if did:
        outcome = str(did.get("outcome") or "")
        return [Piece(f"{outcome} ", "" if outcome == "ok" else "yellow"), Piece(str(did["title"]), "dim"), last]
    return [Piece("its last run is not known" if row.get("runs") else "nothing yet", "dim")]


# ---- what waits ----


def queue_heading(look: Row, pen: Pen) -> str:
    """How many tasks wait, for what, and since when the oldest of each."""
    queue: Row = look.get("queue") or {}
    counts: Row = queue.get("counts") or {}
    oldest: Row = queue.get("oldest") or {}
    told = [
        f"{count} for {KINDS.get(kind, kind)} ({seconds((oldest.get(kind) or {}).get('age_s') or 0)})"
        for kind, count in sorted(counts.items(), key=lambda each: -each[1])
    ]
    waiting = queue.get("waiting", 0)
    what = f" {waiting} wait{'s' if waiting == 1 else ''}" + (": " if told else "") + ", ".join(told)
    return heading(pen, "QUEUE", f" {queue.get('running', 0)} run {pen.mark('·', '.')}", what)


def queue(look: Row, pen: Pen, room: int, now: float) -> list[str]:
    """A slot that waits a line, in the order of their turn: for whom, since when, for what."""
    rows: Sequence[Row] = (look.get("queue") or {}).get("first") or ()
    waiting = (look.get("queue") or {}).get("waiting", 0)
    return most(rows, waiting, room, lambda row: [_waiting(row, pen, now)], pen, "maestro queue status")


def _waiting(row: Row, pen: Pen, now: float) -> str:
    step = f"{row['step']}: " if row.get("step") else ""
    title_width = max(10, min(44, pen.width // 3))
    return pen.line(
        Piece("   "),
        Piece(str(row["target"]), "", min(ID_MAX, max(8, pen.width // 6))),
        Piece(ago(row["since"], now), "", 5, right=True),
        Piece("  "),
        Piece(f"{step}{row['title']}", "", title_width),
        Piece("  "),
        Piece(_awaited(row), "dim"),
    )


def _awaited(row: Row) -> str:
    """What a slot waits for, shortly: its target is in the line already."""
    reason = str(row["reason"])
    return reason.removeprefix(f"agent {row['target']} is ")


# ---- workflows ----


def runs_heading(look: Row, pen: Pen) -> str:
    """How many runs of workflows are open."""
    count = look.get("runs_open")
    return heading(pen, "WORKFLOWS", " not known" if count is None else f" {count} open")


def runs(look: Row, pen: Pen, room: int, now: float) -> list[str]:
    """The open runs of workflows: how far each is, what works, what it waits for; approvals with their command."""
    rows: Sequence[Row] = look.get("runs") or ()
    count = look.get("runs_open") or 0
    return most(rows, count, room, lambda row: _run(row, pen, now), pen, "maestro workflow runs")


def run_lines(row: Row) -> int:
    """How many lines a run has."""
    return 1 + len(row.get("asks") or ())


def _run(row: Row, pen: Pen, now: float) -> list[str]:
    steps = row.get("steps") or {}
    done = f"{steps['done']}/{steps['all']}" if steps else "?"
    state = "paused (budget)" if row.get("paused") == "budget" else str(row["status"])
    colour = "yellow" if row.get("paused") or row.get("asks") else "blue"
    cost = float((row.get("usage") or {}).get("cost") or 0)
    lines = [
        pen.line(
            Piece("   "),
            Piece(str(row["workflow"]), "", max(8, min(24, pen.width // 5))),
            Piece(ago(row["started_at"], now), "", 5, right=True),
            Piece(done, "", 7, right=True),
            Piece("  "),
            Piece(state, colour),
            Piece(f"  {money(cost)}" if cost else "", "dim"),
            Piece("  "),
            *_progress(row, now),
        )
    ]
    for each in row.get("asks") or ():
        command = f"maestro workflow approve {each.get('run') or row['id']} {typed_instance(each['step'])}"
        asked = f"  {each['prompt']}" if each.get("prompt") else ""
        lines.append(pen.line(f"     {pen.mark('→', '->')} ", Piece(command, "yellow"), Piece(asked, "dim")))
    return lines


def _progress(row: Row, now: float) -> list[Piece]:
    if row.get("why"):
        return [Piece(str(row["why"]), "red")]
    works, told = list(row.get("works") or ()), []
    if works:
        more = f" and {row['works_more']} more" if row.get("works_more") else ""
        told.append(f"{', '.join(works)}{more}")
    for each in row.get("waits") or ():
        told.append(f"{each['step']} waits for {each.get('reason') or WAITED.get(each['for'], each['for'])}")
    for each in row.get("asks") or ():
        told.append(f"{each['step']} asks for {ago(each['since'], now)}")
    return [Piece("; ".join(told))]


# ---- alerts ----


def alerts_heading(look: Row, pen: Pen) -> str:
    """How many alerts are open, and how many of those nobody wants to hear of now."""
    count, snoozed = look.get("alerts_open"), look.get("alerts_snoozed")
    what = " not known" if count is None else f" {count} open"
    return heading(pen, "ALERTS", Piece(what, "alarm" if count else ""), f", {snoozed} snoozed" if snoozed else "")


def alerts(look: Row, pen: Pen, room: int, now: float) -> list[str]:
    """Two lines an alert, the worst first, snoozed ones last: what, since when and why; and the command that helps."""
    rows: Sequence[Row] = look.get("alerts") or ()
    count = (look.get("alerts_open") or 0) + (look.get("alerts_snoozed") or 0)
    return most(rows, count, room, lambda row: _alert(row, pen, now), pen, "maestro monitor alerts")


def _alert(row: Row, pen: Pen, now: float) -> list[str]:
    critical = row["severity"] == "critical"
    snoozed = bool(row.get("snoozed_until")) and seconds_of(row["snoozed_until"]) > now
    style = "dim" if snoozed else "alarm" if critical else "yellow"
    what, why = told_once(str(row["what"]), str(row.get("why") or ""))
    return [
        pen.line(
            Piece(f" {pen.mark('✘', 'x') if critical else '!'} ", style),
            Piece(ago(row["since"], now), "", 4, right=True),
            Piece("  "),
            Piece(what, style),
            Piece(f": {why}" if why else ""),
            Piece("  snoozed" if snoozed else "", "dim"),
        ),
        pen.line(f"     {pen.mark('→', '->')} ", Piece(str(row.get("command") or f"maestro monitor ack {row['id']}"))),
    ]


def told_once(what: str, why: str) -> tuple[str, str]:
    """What an alert says and why, nothing of it twice: how it ends (`…: process`) may be how the reason begins."""
    if why in what:
        return what, ""
    head, _, said = what.rpartition(": ")
    return (head, why) if head and why.startswith(said) else (what, why)


# ---- nodes ----


def nodes_heading(look: Row, pen: Pen) -> str:
    """How many nodes are up; of one alone all there is to say."""
    rows: Sequence[Row] = look.get("nodes") or ()
    if len(rows) == 1:
        return heading(pen, "NODES", " ", *_node_pieces(rows[0]))
    up = sum(row["status"] == "up" for row in rows)
    bad = len(rows) - up
    return heading(pen, "NODES", f" {up} up", Piece(f"  {bad} not", "yellow") if bad else "")


def nodes(look: Row, pen: Pen, room: int) -> list[str]:
    """A node a line, where there are several: those that are not up first."""
    rows: Sequence[Row] = look.get("nodes") or ()
    ordered = sorted(rows, key=lambda row: (row["status"] == "up", row["id"]))
    if len(rows) < 2:
        return []
    return most(ordered, len(rows), room, lambda row: [pen.line("   ", *_node_pieces(row))], pen, "maestro node list")


def _node_pieces(row: Row) -> list[Piece]:
    status = "held" if row.get("held") else str(row["status"])
    seen: Row = row.get("seen") or {}
    free = int(seen["disk_free_bytes"]) if str(seen.get("disk_free_bytes", "")).isdigit() else None
    room = "" if free is None else f"  {free / GIB:.0f} GiB free" if free >= GIB else f"  {free // MIB} MiB free"
    pieces = [
        Piece(str(row["id"])),
        Piece(f"  {status}", "" if status == "up" else "yellow" if status in ("held", "left") else "red"),
        Piece(f"  {row['running']}/{row['max_concurrent']} runs"),
        Piece(room, "red" if seen.get("disk_low") else ""),
    ]
    if seen.get("store"):
        pieces.append(Piece(f"  store: {seen['store']}", "red"))
    return [*pieces, Piece(f"  {row['reason']}" if row.get("reason") and status != "up" else "", "dim")]


# ---- what is left out ----


def most(
    rows: Sequence[Row], count: int, room: int, draw: Callable[[Row], list[str]], pen: Pen, more: str
) -> list[str]:
    """As many rows as there is room for; the last line counts the others, with what shows them.

    Each is whole but the last one, of which there is what fits: no line stays empty while something is left out.
    """
    lines: list[str] = []
    shown = 0
    for at, row in enumerate(rows):
        left = room - len(lines) - (1 if at + 1 < count and room > 1 else 0)
        if left <= 0:
            break
        lines += draw(row)[:left]
        shown += 1
    if shown < count and len(lines) < room:
        lines.append(pen.line(Piece(f"   and {count - shown} more: {more}", "dim")))
    return lines
