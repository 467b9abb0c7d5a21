"""Commands about the record: the shared state, the log, audit and replay."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class StateSet(Command, frozen=True, tag_field="kind", tag="state set"):
    """Set a key of the state. Data: state row {key, value, set_at, expires_at|null, actor}."""

    key: str
    value: str
    ttl: str = "24h"


class StateGet(Command, frozen=True, tag_field="kind", tag="state get"):
    """Read a key of the state. Data: state row."""

    key: str


class StateList(Command, frozen=True, tag_field="kind", tag="state list"):
    """List keys of the state. Items: state rows."""

    prefix: str = ""


class StateDelete(Command, frozen=True, tag_field="kind", tag="state delete"):
    """Delete a key of the state. Data: {key, deleted: true}."""

    key: str


class Audit(Command, frozen=True, tag_field="kind", tag="audit"):
    """The story of one subject or all. Items: {seq, time, type, subject, actor, cause, because, data}.

    because: the event that led to it, in words. types: as for `events tail`. Exit code 6 where an event is not what was
    written.
    """

    subject: str | None = None
    since: str | None = None
    types: tuple[str, ...] = ()
    follow: bool = False


class EventsTail(Command, frozen=True, tag_field="kind", tag="events tail"):
    """Read the log, live with follow. Items: {seq, type, subject, at, time, actor, cause, prev, v,
    data, chain}. Exit code 6 where an event is not what was written.

    types: only events of one of these types or families; all where none is named.
    limit: None for the newest 100, with from_position or group for all.
    group: a durable group of readers. The answer is then one batch, with data {position, end}: the position of the
    batch's end, and whether nothing is left. The group reads the batch again until a later request acknowledges it.
    taken: acknowledges events up to this position; with a limit of 0 the request does nothing else.
    """

    follow: bool = False
    from_position: int | None = None
    types: tuple[str, ...] = ()
    group: str | None = None
    limit: int | None = None
    taken: int | None = None


class EventsExport(Command, frozen=True, tag_field="kind", tag="events export"):
    """Export the log. Items: as `events tail`, or CloudEvents."""

    cloudevents: bool = False
    from_position: int = 0
    to_position: int | None = None


class ReplayVerify(Command, frozen=True, tag_field="kind", tag="replay verify"):
    """Verify log and views. Data: {ok, position, events, generation, views: [{view, digest}], differences:
    [{position, what}], differences_found}.

    differences: the first 100 of those that were found. Exit code 0, or 6 where there are any.
    """


class ReplayRebuild(Command, frozen=True, tag_field="kind", tag="replay rebuild"):
    """Rebuild all views. Data: {generation, position, views: {view: digest}}.

    view: the only one whose digest is answered; None for all.
    """

    view: str | None = None


class ReplayAt(Command, frozen=True, tag_field="kind", tag="replay at"):
    """Show a view as it was. Items: the rows of the view."""

    position: str
    view: str


class ReplayDiff(Command, frozen=True, tag_field="kind", tag="replay diff"):
    """Compare the views at two positions. Items: {view, row, change: added|changed|removed, before, after}."""

    a: str
    b: str
