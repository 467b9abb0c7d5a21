"""The forwarded commands of a node: its daemon hears of those that are addressed to it, and carries each out once.

Under this node's own settings, by the handlers of the command line, in the name of who asked. What has begun goes on to
its end; the answer of one that this daemon cannot finish, as it ends itself, says so.
"""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from maestro.model.errors import MaestroError
from maestro.model.events import AnyFact, Event, ForwardAnswered, ForwardAsked, ForwardBegun, NewEvent
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.forwards import large_text
from maestro.runtime.node.forwards.answer import Answer
from maestro.runtime.node.forwards.forwarding import OUTAGE_S_MAX, Forwarded, Printing
from maestro.runtime.node.forwards.passage import Sender, beside
from maestro.runtime.node.patience import patiently
from maestro.runtime.protocol import messages as p
from maestro.runtime.server import likeness
from maestro.runtime.server.connection import failed
from maestro.store.contract import Committed

AT_ONCE_MAX = 64
PRINTING_MAX = 256
"""How many of those are carried out at once that print as long as a run lasts; nothing else waits for them."""
LOOK_BACK = 1000
"""How many events before its start a daemon reads for what was asked of its node meanwhile."""
ENDING_S_MAX = 3.0
"""How long the daemon's end waits for the word that a command was broken off by it."""
_commands: msgspec.json.Decoder[Any] = msgspec.json.Decoder(p.AnyCommand)


class ForwardedCommands:
    """The forwarded commands that one daemon carries out. incarnation: of the daemon."""

    def __init__(self, context: Context, follower: Follower, incarnation: str) -> None:
        self._context = context
        self._follower = follower
        self._incarnation = incarnation
        self._waiting: list[Event] = []
        self._known: set[str] = set()
        self._news = trio.Event()
        self._limit = trio.CapacityLimiter(AT_ONCE_MAX)
        self._printing = trio.CapacityLimiter(PRINTING_MAX)
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event.fact, ForwardAsked) and event.fact.node == self._context.node:
            self._waiting.append(event)
            self._news.set()

    async def run(self) -> None:
        """Carry out what is asked of this node, for ever; what was asked just before this daemon began, too."""
        await self._look_back()
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                waiting, self._waiting = self._waiting, []
                for event in waiting:
                    if event.subject not in self._known:
                        self._known.add(event.subject)
                        nursery.start_soon(self._take, event)
                await self._news.wait()

    async def _look_back(self) -> None:
        context = self._context
        try:
            head = (await context.call(context.store.log.head)).seq
            events = await context.call(context.store.log.read, max(0, head - LOOK_BACK), LOOK_BACK)
        except MaestroError as error:
            seldom.warn("forwarded commands", error.line())
            return
        for event in events:
            self._hear(event)

    async def _take(self, event: Event) -> None:
        daemon = self._context.daemon
        assert daemon is not None
        try:
            command = await self._context.insist(lambda: self._command(event))
            is_errand = not isinstance(command, Printing)  # which end with what they show, and keep no node from going
            daemon.errands += is_errand
            try:
                async with self._limit if is_errand else self._printing:
                    await self._carry_out(event, command)
            finally:
                daemon.errands -= is_errand
        except MaestroError as error:
            log.warning("%s: %s", event.subject, error.line())
        finally:
            self._known.discard(event.subject)

    async def _command(self, event: Event) -> Any:
        """What is asked for; an answer where that cannot be done."""
        context, fact = self._context, event.fact
        assert isinstance(fact, ForwardAsked)
        text = await large_text.found(context, f"{event.subject}:command", fact.command, fact.apart)
        if text is None:
            return Answer(failed=p.Failed("failed", 1, "the command is gone from the store", mend="try again"))
        try:
            command = _commands.decode(text)
        except msgspec.DecodeError as error:
            what = f"node {context.node} cannot read this command: {error}"
            return Answer(failed=p.Failed("failed", 1, what, mend="run the same version of Maestro on both nodes"))
        if not isinstance(command, Forwarded):
            what = f"node {context.node} takes no such command from others"
            return Answer(failed=p.Failed("failed", 1, what, mend="run it there"))
        return command

    async def _carry_out(self, event: Event, command: Any) -> None:
        """Begin, do, answer. Nothing where it has expired, was withdrawn, or begun before."""
        fact, context = event.fact, self._context
        assert isinstance(fact, ForwardAsked)
        if await context.now() >= fact.expires_at:
            return
        begun = ForwardBegun(fact.forward, context.node, self._incarnation)
        if not await self._append(event, begun, max(event.seq, await context.floor())):
            return
        what = f"the daemon of node {context.node} ended before this was done"
        answer = Answer(failed=p.Failed("failed", 1, what, mend="see what it has done before you repeat it"))
        done = False
        try:
            answer = command if isinstance(command, Answer) else await self._answer(event, fact, command)
            done = True
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(float("inf") if done else ENDING_S_MAX):
                name, told = f"{event.subject}:answer", answer.encoded()
                text, apart = await context.insist(lambda: large_text.put(context, name, told))
                fact_told = ForwardAnswered(fact.forward, context.node, text, apart)
                await context.insist(lambda: self._append(event, fact_told, None))

    async def _answer(self, event: Event, fact: ForwardAsked, command: Any) -> Answer:
        context = self._context
        notes: list[p.Note] = []
        items: list[Any] = []
        texts: list[str] = []
        sender = Sender(context, fact.forward) if isinstance(command, Printing) else None

        async def send(frame: p.ServerFrame) -> None:
            if isinstance(frame, p.Note) and frame.level != "progress":
                notes.append(frame)
            elif isinstance(frame, p.Item):
                items.append(frame.data)
            elif isinstance(frame, p.Output):
                await sender.send(frame.text) if sender else texts.append(frame.text)

        call = Call(context, p.Caller(fact.actor, fact.cwd, context.caller_environment), send)
        call.cause, call.patient, call.forwarded = str(event.seq), True, True

        async def work() -> p.Done:
            with patiently(OUTAGE_S_MAX):
                done = await context.handler(type(command))(call, command)
            if sender is not None:
                await sender.end()
            return done

        try:
            done = await (work() if sender is None else beside(sender.run, work)) or p.Done()
        except Exception as error:  # noqa: BLE001 - a defect of one command must not end the daemon
            await likeness.propose(context, error, command)
            told = msgspec.structs.replace(failed(context, error, command), traceback="")
            return Answer(notes, items, "".join(texts), failed=told)
        finally:
            for action in call.afterwards:
                action()
        return Answer(notes, items, "".join(texts), done.data, done.exit_code, done.cut)

    async def _append(self, event: Event, fact: AnyFact, expected: int | None) -> bool:
        new = NewEvent(event.subject, fact, expected)
        result = await self._context.append([new], f"node:{self._context.node}", str(event.seq))
        return isinstance(result, Committed)
