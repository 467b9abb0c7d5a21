"""The context of a position of the log, in which the handlers of the command line answer as they would have then."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, cast

from maestro.board.rows.past_store import PastStore
from maestro.board.rows.past_views import PastViews
from maestro.board.rows.view_pages import Waypoints
from maestro.config import Settings
from maestro.model.errors import NotFound
from maestro.model.events import Text
from maestro.runtime.daemon.plain_server import PlainCall, driven
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store
from projections.lineage import Cut
from replayers.timeline.past_views import Past


class PastContext(ReadContext):
    """What a handler reads from, as of a position. live: it is the newest one, so that the present is looked at too:
    heartbeats, leases, workspaces, logs; at any other a handler sees nothing of it (`ReadContext.is_past`).
    """

    def __init__(
        self, settings: Settings, node: str, store: Store, past: Past, around: tuple[Sequence[Cut], Waypoints, bool]
    ) -> None:
        cuts, waypoints, live = around
        at = PastStore(store, past, cuts, live)
        super().__init__(settings, node, cast(Store, at))
        self.past = past
        self.is_past = not live
        self.views: PastViews = PastViews(at, waypoints)

    async def content(self, value: Text) -> bytes:
        """See `ReadContext`; a text that is gone hides no other."""
        try:
            return await super().content(value)
        except NotFound as gone:
            return f"[maestro: {gone.what}]".encode()


class Answer(PlainCall):
    """A command under way whose rows are kept. notes: what it would have told its user beside them."""

    def __init__(self, context: PastContext) -> None:
        super().__init__(context, self._take)
        self.rows: list[Any] = []
        self.notes: list[str] = []

    def _take(self, item: p.Item) -> None:
        self.rows.append(item.data)

    async def note(self, text: str, level: str = "info", below: Sequence[str] = ()) -> None:  # noqa: ARG002
        """Keep a line; progress is of no use."""
        if level != "progress":
            self.notes.append(text)


def answered(context: PastContext, command: p.Command) -> tuple[list[Any], p.Done]:
    """The rows of a command that only reads, and its end. Raises what its handler raises."""
    call = Answer(context)
    try:
        done = driven(cast(Coroutine[Any, Any, p.Done], HANDLERS[type(command)](cast(Any, call), command)))
    except NotFound as error:
        from maestro.runtime.server import likeness

        driven(likeness.propose(context, error, command))
        raise
    return call.rows, done
