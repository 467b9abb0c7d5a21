"""Forwarding of a command to the node that alone can carry it out: asked for in the log, and answered there.

The node begins a command at the version of its asking, and the asker withdraws one that nobody has begun at the same
version: so one of the two happens, and "nothing was begun" is true when it is said. What has begun goes on to its end
there, whatever becomes of the asker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
import trio

from maestro.model.errors import MaestroError, NotFound, Refused, StoreAway, Unknown
from maestro.model.events import Event, ForwardAnswered, ForwardAsked, ForwardBegun, NewEvent
from maestro.model.node import Node
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.forwards import large_text
from maestro.runtime.node.forwards.answer import Answer, decoded, error_of
from maestro.runtime.node.forwards.passage import Receiver, beside
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.subject_events import events_behind
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.repetition import how_to_repeat
from maestro.store.contract import Committed

T = TypeVar("T")

BEGIN_S_MAX: Final = 15.0
"""How long a command waits for its node to begin it."""
SILENT_S_MAX: Final = 2.5
"""How long the lease of a node may be missing, which it renews as often, before it counts as gone."""
LOOK_EVERY_S: Final = 1.0
POLL_S_MIN, POLL_S_MAX = 0.02, 0.25
OUTAGE_S_MAX: Final = 60.0
"""How long the asker waits for a store that is away; what it has asked for goes on behind that."""
FOLLOWED_S_MAX: Final = 1.0
"""As `POLL_S_MAX`, where a command prints for hours, and nothing has come for a while."""
Forwarded = (
    *(p.AgentReset, p.AgentStop, p.AgentAssign, p.AgentHealth),
    *(p.WorkspaceClean, p.WorkspaceList, p.StateVerify, p.RestorePreview, p.AgentMove, p.AgentsPutBack, p.RunLog),
)
"""The commands that a node carries out for another one. None of them carries a secret."""
Printing = (p.RunLog,)
"""Those that print as long as they last: what they print is passed on as it comes (`passage`)."""
Print = Callable[[str], Awaitable[None]]
START_THERE: Final = "start its daemon there (maestro up)"
NOT_BEGUN: Final = ": nothing was begun"


async def forward(call: Call, node: str, command: p.Command, quiet: bool = False) -> p.Done:
    """Have the daemon of another node carry out a command, under its own settings; pass on what it says.

    quiet: what it says is not passed on, and what becomes of it at Ctrl-C is not told, as several are on at once.
    Raises what was raised there; Refused where the node is away or does not begin it; Unknown where it goes away then.
    """
    answer = await ask(call, node, command, quiet)
    if not quiet:
        for note in answer.notes:
            await call.note(note.text, note.level, note.below)
    if answer.failed is not None:
        raise error_of(answer.failed, node)
    if not quiet:
        for item in answer.items:
            await call.item(item)
        if answer.output:
            await call.output(answer.output)
    return p.Done(answer.data, answer.exit_code, answer.cut)


async def ask(call: Call, node: str, command: p.Command, quiet: bool = False) -> Answer:
    """As `forward`, but give all that the node has said back, also how the command failed there."""
    assert isinstance(command, Forwarded), command
    context = call.context
    if call.forwarded:
        raise Refused(f"what node {context.node} was asked for lies on node {node} by now", mend="try again")
    await check_up(context, node)
    asked = _Asked(call, node, command)
    await asked.ask()
    if not quiet:
        call.when_interrupted(asked.given_up)
    return await asked.answer()


async def printed(call: Call, node: str, command: p.Command, out: Print) -> None:
    """Have the daemon of another node carry out one of the commands that print; `out` is given all of it as it comes.

    Raises as `forward`.
    """
    assert isinstance(command, Printing), command
    await check_up(call.context, node)
    asked = _Asked(call, node, command)
    receiver = Receiver(call.context, asked.id)
    await receiver.open()
    try:
        await asked.ask()
        answer = await beside(receiver.run, lambda: asked.answer(receiver, out))
    finally:
        with trio.move_on_after(LOOK_EVERY_S, shield=True), suppress(MaestroError):
            await receiver.leave()
    if answer is not None and answer.failed is not None:
        raise error_of(answer.failed, node)


async def check_up(context: Context, node: str, lies: str = "") -> Node:
    """The row of a node that is up, as far as the log knows. Raises NotFound; Refused as `away` where it is not."""
    row = next((each for each in await context.rows(context.views.nodes) if each.id == node), None)
    if row is None:
        raise NotFound(f"there is no node {node!r}", mend="maestro node list shows all", sought=("node", node))
    if row.status != "up":
        raise away(row, lies)
    return row


async def is_up(context: Context, node: str) -> bool:
    """Whether a node is up and answers."""
    rows = await context.rows(context.views.nodes)
    if not any(each.id == node and each.status == "up" for each in rows):
        return False
    return await context.call(context.store.work.lease_holder, f"node:{node}") is not None


def away(node: Node, lies: str = "") -> Refused:
    """The refusal of what only a node can do that is away. lies: what is wanted of it, and lies there."""
    how = "was forgotten" if node.forgotten else "is lost" if node.status == "lost" else "is away"
    what = f"{lies} lies on node {node.id}, which {how}" if lies else f"node {node.id} {how}{NOT_BEGUN}"
    return Refused(what, mend=f"{START_THERE}, where it is there still" if node.forgotten else START_THERE)


def why_unseen(error: MaestroError, node: str) -> str:
    """Why a node has not said what it was asked for, for a list: that nothing was begun goes without saying there."""
    return error.what.removesuffix(NOT_BEGUN) if error.what.startswith(f"node {node}") else error.what


class _Asked:
    """One command that a node is asked for. version: of its asking, 0 before it is asked."""

    def __init__(self, call: Call, node: str, command: p.Command) -> None:
        self._call = call
        self._context = call.context
        self._node = node
        self._command = command
        self.id = new_id()
        self._subject = f"forward:{self.id}"
        self._version = 0
        self._begun: ForwardBegun | None = None
        self._answered: ForwardAnswered | None = None
        self._missing_since: float | None = None

    async def ask(self) -> None:
        """Append the asking. Raises as `Context.decide`."""
        context, caller = self._context, self._call.caller
        text = msgspec.json.encode(self._command).decode()
        text, apart = await large_text.put(context, f"{self._subject}:command", text)
        expires_at = await context.now() + int(BEGIN_S_MAX * 1000)
        asked = ForwardAsked(self.id, self._node, text, caller.actor, caller.cwd, expires_at, apart)

        async def decision() -> list[NewEvent]:
            return [NewEvent(self._subject, asked, await context.floor())]

        done = await context.decide(self._call, decision)
        assert done is not None
        self._version = done.last

    async def answer(self, receiver: Receiver | None = None, out: Print | None = None) -> Answer:
        """Wait for the answer. Raises Refused where the node does not begin; Unknown where it ends in the middle.

        receiver: of what it prints, which goes to `out`.
        """
        deadline = trio.current_time() + BEGIN_S_MAX
        pause, looked_at = POLL_S_MIN, trio.current_time()
        while True:
            if receiver is not None and out is not None and (text := await self._through_outage(receiver.take)):
                await out(text)
                pause = POLL_S_MIN
                continue
            await self._through_outage(self._read)
            if (answered := self._answered) is not None:
                return await self._through_outage(lambda: self._told(answered))
            if trio.current_time() > looked_at + LOOK_EVERY_S:
                looked_at = trio.current_time()
                if await self._through_outage(self._is_gone):
                    await self._end(f"node {self._node} is away")
            if self._begun is None and trio.current_time() > deadline:
                await self._end(f"node {self._node} has not begun it within {BEGIN_S_MAX:.0f} s")
            await trio.sleep(pause)
            pause = min(pause * 1.5, POLL_S_MAX if receiver is None else FOLLOWED_S_MAX)

    async def _through_outage(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do the action, again after an outage of the store. Raises Unknown where that lasts."""
        try:
            return await self._context.insist(action, OUTAGE_S_MAX)
        except StoreAway as error:
            what = f"the store went away meanwhile: {error.what}; maestro audit {self._subject} shows what became of it"
            raise Unknown(what, f"node {self._node}", how_to_repeat(self._command)) from error

    async def _told(self, fact: ForwardAnswered) -> Answer:
        text = await large_text.found(self._context, f"{self._subject}:answer", fact.answer, fact.apart)
        if text is None:
            what = "it was carried out, and its answer is gone from the store"
            raise Unknown(what, f"node {self._node}", how_to_repeat(self._command))
        return decoded(text)

    async def _read(self) -> None:
        for event in await self._context.call(self._events):
            if isinstance(event.fact, ForwardBegun):
                self._begun = event.fact
            elif isinstance(event.fact, ForwardAnswered):
                self._answered = event.fact

    def _events(self) -> list[Event]:
        """What has become of it since it was asked. Blocks."""
        store = self._context.store
        found = events_behind(store, self._subject, self._version)
        if found is None:  # a restore has made all versions anew
            head = store.log.head().seq
            found = [each for part in store.log.scan(self._version, head) for each in part]
        return [event for event in found if event.subject == self._subject]

    async def _is_gone(self) -> bool:
        """Whether the daemon that was asked has ended, or does not renew its lease."""
        context = self._context
        row = next((each for each in await context.rows(context.views.nodes) if each.id == self._node), None)
        if row is None or row.status != "up":
            return True
        if self._begun is not None and row.incarnation != self._begun.incarnation:
            return True
        if await context.call(context.store.work.lease_holder, f"node:{self._node}") is not None:
            self._missing_since = None
            return False
        if self._missing_since is None:
            self._missing_since = trio.current_time()
        return trio.current_time() - self._missing_since > SILENT_S_MAX

    async def _end(self, why: str) -> None:
        """Withdraw it, or tell that it had begun. Nothing where it was begun or answered just now: look again."""
        if await self._through_outage(lambda: self._withdraw(why)):
            raise Refused(f"{why}{NOT_BEGUN}", mend=START_THERE)
        await self._through_outage(self._read)
        if self._begun is not None and self._answered is None and await self._through_outage(self._is_gone):
            what = (
                f"it was begun, and then the node went away; maestro audit {self._subject} shows whether it answers yet"
            )
            raise Unknown(what, f"node {self._node}", how_to_repeat(self._command))

    async def _withdraw(self, why: str) -> bool:
        """Answer it in the node's place, so that it never begins; False where it has begun."""
        failed = Answer(failed=p.Failed(Refused.code, Refused.exit_code, why))
        fact = ForwardAnswered(self.id, self._node, failed.encoded())
        event = NewEvent(self._subject, fact, max(self._version, await self._context.floor()))
        return isinstance(await self._context.append([event], self._call.caller.actor, self._call.cause), Committed)

    async def given_up(self) -> str:
        """What is said at Ctrl-C: what has begun goes on there, and what has not begun never does."""
        if self._answered is not None:
            return "interrupted"
        try:
            if await self._withdraw("the asker has withdrawn it"):
                return f"interrupted; node {self._node} had not begun it, and does not"
        except MaestroError:
            return f"interrupted; node {self._node} may go on with it: maestro audit {self._subject}"
        return f"interrupted; node {self._node} goes on with it: maestro audit {self._subject}"
