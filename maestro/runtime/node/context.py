"""The context of handlers: the store behind its gateway, the views, this node's daemon where there is one."""

from __future__ import annotations

import functools
import math
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from maestro import config
from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, Refused, StoreAway
from maestro.model.events import BlobRef, NewEvent, Text
from maestro.runtime.node.contention import Race
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.node_daemon import NodeDaemon
from maestro.runtime.node.patience import patience_s
from maestro.runtime.node.read_context import NEXT_THREAD_S, THREADS_MAX, Line, ReadContext
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Append, Committed, Fence, Hint, Rejected, Store
from maestro.store.gateway import Gateway
from maestro.store.redis.lineage import check_version

T = TypeVar("T")

INLINE_BYTES_MAX = 16 * 1024
RESULT_INLINE_BYTES_MAX = 1024
AWAY_RETRY_S = 0.5
_TOLD = frozenset({"PATH", "HOME", "LANG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"})
LIMITS: Final = {
    "max_concurrent": "max_concurrent",
    "agent_timeout": "agent_timeout_s",
    "snapshot_retention": "snapshot_retention_days",
    "failsafe_mode": "failsafe_mode",
    "node_labels": "node_labels",
    "archive_url": "archive_url",
}
"""Settings that are the daemon's for all its callers: variable, as in `Settings.sources`, and field."""
ANSWER_S_MAX = 4.5
"""How long a command waits for its append to be confirmed before it says that its outcome is unknown."""
REVIVED_S_MAX = 9.0
"""As ANSWER_S_MAX, where the store is embedded: one that has died is started again meanwhile."""
REVIVALS_MAX = 3
APPEND_S_MAX = 60.0
"""How long an append may take to be confirmed that belongs to what has begun, or that no command waits for."""


class Context(ReadContext):
    """The context of one server: the daemon's, or that of a command which runs without a daemon.

    node: the id of this node. daemon: None in a command without one. handlers: by type of command. stop_store: the
    embedded store is to be stopped at the end. revive: starts the embedded store again; None for another store.

    storeless: why there is no store (an empty one stands in its place); nothing but `doctor` is carried out then.
    """

    def __init__(self, settings: Settings, node: str, store: Store, gateway: Gateway) -> None:
        super().__init__(settings, node, store)
        self.gateway = gateway
        self.daemon: NodeDaemon | None = None
        self.handlers: dict[type[p.Command], Handler] = {}
        self.stop_store = False
        self.storeless: MaestroError | None = None
        self.revive: Callable[[], object] | None = None
        self.placing = trio.Lock()
        """Held by each assignment of this process: each is checked against all others."""
        self.may_listen: Callable[[], bool] = lambda: True
        self.turned_away: deque[int] = deque(maxlen=64)
        """The last clients of an older release, by process id: each is turned away once, then refused."""

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """The environment of this process, read once: a run gets a part of it."""
        return dict(os.environ)

    @property
    def caller_environment(self) -> dict[str, str]:
        """What of this process's environment a command has as its caller's that no client of this node has sent."""
        return {name: value for name, value in self.environment.items() if name in _TOLD or name.startswith("MAESTRO_")}

    @property
    def folds(self) -> str:
        """The versions of this build's folds, for the handshake."""
        from projections.projector import FOLDS

        return FOLDS

    def handler(self, command: type[Any]) -> Handler:
        """The one handler of a command."""
        return self.handlers[command]

    def running(self) -> int:
        """How many runs are on at this node's daemon; 0 without a daemon."""
        return self.daemon.runs.count() if self.daemon else 0

    def drain(self, reason: str) -> None:
        """Have this node's daemon take no more runs, and start anew; nothing without a daemon."""
        if self.daemon:
            self.daemon.drain(reason)

    def notices(self, caller: p.Caller) -> list[str]:
        """Lines for the caller about limits that it has set, and that differ from those of this daemon, which count."""
        if self.daemon is None or not config.may_set(caller.env, LIMITS):
            return []
        try:
            theirs = config.load(caller.env, Path(caller.cwd))
        except MaestroError as error:  # the command says so where it needs the caller's settings
            log.debug("the settings of a caller: %s", error.line())
            return []
        found = []
        for name, field in LIMITS.items():
            here, counts = _as_set(getattr(theirs, field)), _as_set(getattr(self.settings, field))
            if theirs.sources[name] != "default" and here != counts:
                variable = f"MAESTRO_{name.upper()}"
                found.append(
                    f"{variable} is {here} here, but this node's daemon was started with {counts}, which counts"
                )
        return found

    async def call(self, call: Callable[..., T], *args: object) -> T:
        """Make a short call of the store in a thread.

        An embedded store that died, or that a `shutdown` at the same time has stopped, is started, and asked again.
        What runs `patiently` asks again after an outage of any store.
        """
        limit_s = patience_s.get()
        if limit_s:
            return await self.insist(lambda: self._call(call, *args), limit_s)
        return await self._call(call, *args)

    async def _call(self, call: Callable[..., T], *args: object) -> T:
        for _ in range(REVIVALS_MAX):
            try:
                return await self.gateway.call(call, *args)
            except StoreAway:
                if self.revive is None:
                    raise
                await trio.to_thread.run_sync(self.revive)
        return await self.gateway.call(call, *args)

    async def agents(self) -> list[Agent]:
        """See `ReadContext`. A daemon has them decoded in its plan; the view's are a text each to be read."""
        found = None if self.daemon is None else await self.daemon.follower.agents()
        return await super().agents() if found is None else found

    async def together(self, works: Mapping[str, Callable[[], T]], limit_s: float) -> dict[str, T]:
        """Do blocking work in threads of trio: see `ReadContext.together`."""
        line, limiter = Line(works), trio.CapacityLimiter(THREADS_MAX)
        done = trio.Event()

        async def work() -> None:
            await trio.to_thread.run_sync(line.work, abandon_on_cancel=True, limiter=limiter)
            done.set()  # as nothing waits any more

        with trio.move_on_after(limit_s):
            async with trio.open_nursery() as nursery:
                for _ in range(line.threads_max):
                    nursery.start_soon(work)
                    with trio.move_on_after(NEXT_THREAD_S):
                        await done.wait()
                    if not line.waiting:
                        break
        return line.end()

    async def insist(self, action: Callable[[], Awaitable[T]], limit_s: float = math.inf) -> T:
        """Do the action, again after each outage of the store. Raises StoreAway when the gateway closes, and where the
        store is still away after `limit_s`.
        """
        until = trio.current_time() + limit_s
        while True:
            try:
                return await action()
            except StoreAway as error:
                if self.gateway.closing or trio.current_time() > until:
                    raise
                seldom.warn("waiting for the store", error.line())
                await trio.sleep(AWAY_RETRY_S)

    async def append(
        self,
        events: Sequence[NewEvent],
        actor: str,
        cause: str,
        *,
        hints: Sequence[Hint] = (),
        fence: Fence | None = None,
        read_at: int = -1,
    ) -> Committed | Rejected:
        """Append, and return the log's answer; an outage of the store is waited out. Raises as `Gateway.append`."""
        append = Append(tuple(events), actor, cause, tuple(hints), fence, read_at=read_at)
        return await self.gateway.append(append, APPEND_S_MAX)

    async def submit(
        self, events: Sequence[NewEvent], actor: str, cause: str, *, read_at: int = -1
    ) -> Committed | Rejected:
        """Append for a command whose user waits; an embedded store that this process starts again is waited for.

        Raises StoreAway where the store refuses it: nothing was done, nor will be; Unknown where its answer is lost.
        """
        append = Append(tuple(events), actor, cause, read_at=read_at)
        if self.revive is not None:
            return await self.gateway.append(append, REVIVED_S_MAX)
        return await self.gateway.append(append, ANSWER_S_MAX, prompt=True)

    async def decide(
        self,
        call: Call,
        decision: Callable[[], Awaitable[Sequence[NewEvent]]],
        append: Callable[..., Awaitable[Committed | Rejected]] | None = None,
    ) -> Committed | None:
        """Read, decide, append; again where somebody else was first. None when there was nothing to append.

        `decision` reads anew on each call, up to the end of the log that was known before at least (`read_at`). Raises
        what it raises, and Conflict where others were first for too long.
        """
        append = append or (self.append if call.patient else self.submit)
        race = Race()
        while True:
            read_at = self.store.log.known().seq
            events = await decision()
            if not events:
                return None
            result = await append(events, call.caller.actor, call.cause, read_at=read_at)
            if isinstance(result, Committed):
                return result
            if result.reason == "sealed" and result.actual < result.expected:
                raise Refused(f"{result.subject} has ended so long ago that nothing can be done to it any more")
            if result.actual < result.expected:
                await self.call(check_version, self.store.log, result)
            await race.lost()

    async def changed(self, after: int) -> None:
        """Wait until the log has an event behind position `after`."""
        if self.daemon:
            await self.daemon.follower.changed(after)
            return
        while not await self.call(lambda: self.store.log.follow(after, 1, 500)):
            await trio.lowlevel.checkpoint()

    async def keep(self, value: str, inline_bytes_max: int = INLINE_BYTES_MAX) -> Text:
        """A text as an event carries it: inline, or put into the blobs first."""
        data = value.encode("utf-8", "surrogateescape")
        if len(data) <= inline_bytes_max:
            return value
        return BlobRef(await self.call(self.store.blobs.put, data), len(data))


def _as_set(value: object) -> str:
    """A limit as it is set in the environment."""
    return (",".join(value) or "none") if isinstance(value, tuple) else str(value).lower()


class Call:
    """One command under way: its caller, the way to answer, and the cause that its events name."""

    def __init__(self, context: Context, caller: p.Caller, send: Callable[[p.ServerFrame], Awaitable[None]]) -> None:
        self.context = context
        self.caller = caller
        self.cause = f"cmd:{new_id()}"
        self.interrupted = False
        self.patient = False
        """Whether the command has begun what must not stay half done: its appends then wait out a store's outage."""
        self.run = ""
        """The run that the caller is a process of, "" for none."""
        self.forwarded = False
        """Whether another node asked for it: it is carried out here, or not at all."""
        self.again: p.AnyCommand | None = None
        """The command to send to the next daemon where this one starts anew before it has answered; None for none."""
        self.afterwards: list[Callable[[], None]] = []
        self._send = send
        self._interrupt: Callable[[], Awaitable[str]] | None = None

    async def note(self, text: str, level: str = "info", below: Sequence[str] = ()) -> None:
        """Send a line for stderr. It is lost where the client is gone: what has begun is not broken off by that."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send(p.Note(text, level, list(below)))

    async def item(self, row: Any) -> None:
        """Send a row of the answer."""
        await self._send(p.Item(row))

    async def output(self, text: str) -> None:
        """Send raw text for stdout."""
        await self._send(p.Output(text))

    def when_interrupted(self, action: Callable[[], Awaitable[str]]) -> None:
        """Do this on Ctrl-C; the action returns the line that the user sees."""
        self._interrupt = action

    def after_answer(self, action: Callable[[], None]) -> None:
        """Do the action once the answer has been sent to the client."""
        self.afterwards.append(action)

    async def on_interrupt(self) -> str:
        """Do what `when_interrupted` has set; the line that the user sees."""
        if self._interrupt is None:
            return "interrupted"
        try:
            return await self._interrupt()
        except MaestroError as error:
            return error.line()


Handler = Callable[[Call, Any], Awaitable[p.Done]]
"""A handler carries out one command: reads, decides, appends, answers."""
