"""Commands about what is on record: the shared state, the log, and what it tells when it is folded again."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class StateSet(Command, frozen=True, tag_field="kind", tag="state set"):
    """Data: state row {key, value, set_at, expires_at|null, actor}."""

    key: str
    value: str
    ttl: str = "24h"


class StateGet(Command, frozen=True, tag_field="kind", tag="state get"):
    """Data: state row."""

    key: str


class StateList(Command, frozen=True, tag_field="kind", tag="state list"):
    """Items: state rows."""

    prefix: str = ""


class StateDelete(Command, frozen=True, tag_field="kind", tag="state delete"):
    """Data: {key, deleted: true}."""

    key: str


class Audit(Command, frozen=True, tag_field="kind", tag="audit"):
    """Items: {seq, at, type, subject, actor, cause, text, data}."""

    subject: str | None = None
    since: str | None = None
    type: str | None = None
    follow: bool = False


class EventsTail(Command, frozen=True, tag_field="kind", tag="events tail"):
    """Items: {seq, at, type, subject, actor, cause, prev, v, data}.

    limit: None for the newest 100, with from_position or group for all. With a group the answer is one batch, and data
    {position, end}: where the batch ends, and whether nothing is left. It is read again until a later question says
    that it is `taken`, up to that position; a limit of 0 asks nothing else.
    """

    follow: bool = False
    from_position: int | None = None
    type: str | None = None
    group: str | None = None
    limit: int | None = None
    taken: int | None = None


class EventsExport(Command, frozen=True, tag_field="kind", tag="events export"):
    """Items: as `events tail`, or CloudEvents."""

    cloudevents: bool = False
    from_position: int = 0
    to_position: int | None = None


class ReplayVerify(Command, frozen=True, tag_field="kind", tag="replay verify"):
    """Data: {ok, position, events, views: [{view, rows, digest, ok}], difference}; exit code 0 or 6."""


class ReplayRebuild(Command, frozen=True, tag_field="kind", tag="replay rebuild"):
    """Data: {generation, position, views}."""

    view: str | None = None


class ReplayAt(Command, frozen=True, tag_field="kind", tag="replay at"):
    """Items: the rows of the view."""

    position: str
    view: str


class ReplayDiff(Command, frozen=True, tag_field="kind", tag="replay diff"):
    """Items: {view, row, change: added|changed|removed, before, after}."""

    a: str
    b: str
