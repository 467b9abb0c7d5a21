"""The server's side of a connection: a handshake, one command, its answer.

The daemon and the in-process server run this same code. A run's own socket runs it with `run` set, so that an agent can
use nothing but `state`.
"""

from __future__ import annotations

import traceback

import msgspec
import trio

from maestro import __version__
from maestro.model.errors import MaestroError, Refused, Unknown
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import placed, user_error
from maestro.runtime.node.known_head import KnownHead
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.frames import frame
from maestro.runtime.protocol.repetition import how_to_repeat
from maestro.runtime.server import likeness

RECEIVE_BYTES_MAX = 1024 * 1024

_client_frames = msgspec.msgpack.Decoder(p.ClientFrame)


class Peer:
    """The client at the other end of a connection. Its methods raise trio.BrokenResourceError where it is gone."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._sending = trio.Lock()

    async def send(self, message: p.ServerFrame) -> None:
        """Send one frame; frames of concurrent senders do not mix."""
        async with self._sending:
            await self.stream.send_all(frame(message))

    async def receive(self) -> p.ClientFrame | None:
        """The next frame, None at the end of the stream.

        Raises Refused for a frame above the limit, msgspec.DecodeError for what is not a frame of this protocol.
        """
        head = await self._exactly(4)
        if head is None:
            return None
        size = int.from_bytes(head, "big")
        if size > p.FRAME_BYTES_MAX:
            raise Refused(f"a message of {size} bytes is above the limit of {p.FRAME_BYTES_MAX}")
        body = await self._exactly(size)
        return None if body is None else _client_frames.decode(body)

    async def _exactly(self, count: int) -> bytearray | None:
        while len(self._buffer) < count:
            chunk = await self.stream.receive_some(min(RECEIVE_BYTES_MAX, max(65536, count - len(self._buffer))))
            if not chunk:
                return None
            self._buffer += chunk
        if len(self._buffer) == count:  # a large prompt is not copied
            piece, self._buffer = self._buffer, bytearray()
            return piece
        piece = self._buffer[:count]
        del self._buffer[:count]
        return piece


ANY_LOG: tuple[type[p.Command], ...] = (p.Doctor, p.RedisFlush, p.Shutdown, p.ReplayVerify)
"""Commands that are carried out also where the log is not the one that this installation knew."""


async def serve_connection(context: Context, stream: trio.SocketStream, run: str = "") -> None:
    """Serve one client to its end. run: the run that the client is a process of, which may use `state` only."""
    peer = Peer(stream)
    async with stream:
        try:
            await _converse(context, peer, run)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        except msgspec.DecodeError as error:
            await _try_send(peer, p.Failed("protocol", 2, f"not a message of protocol {p.PROTOCOL}: {error}"))
        except Exception as error:  # noqa: BLE001 - one client's defect must not end the daemon
            await _try_send(peer, failed(context, error))


async def _converse(context: Context, peer: Peer, run: str) -> None:
    hello = await peer.receive()
    if not isinstance(hello, p.Hello):
        return
    same_folds = hello.folds in ("", context.folds)
    if (hello.protocol, hello.build) != (p.PROTOCOL, __version__) or not same_folds:
        await peer.send(p.Skew(__version__, p.PROTOCOL, context.running()))
        if not run:  # what an agent brings with it must not restart its node
            context.drain("another build asked for this node")
        return
    welcome = p.Welcome(__version__, context.node)
    if not run:  # an agent is told of no store, and of no limits
        settings = context.settings
        store = settings.redis_url or ""
        notices = context.notices(hello.caller)
        welcome = msgspec.structs.replace(welcome, notices=notices, namespace=settings.namespace, store=store)
    await peer.send(welcome)
    command = await peer.receive()
    if command is None or isinstance(command, (p.Hello, p.Interrupt)):
        return
    caller = hello.caller
    if run:
        if not isinstance(command, p.INSIDE_RUN):
            raise Refused("a process inside a run may use `state` only", mend="run this from outside the agent")
        caller = msgspec.structs.replace(caller, actor=f"run:{run}")
    elif isinstance(command, p.OF_MONITORS):
        caller = msgspec.structs.replace(caller, actor=f"monitor:{context.node}")
    await _carry_out(context, peer, Call(context, caller, peer.send), command)


async def _carry_out(context: Context, peer: Peer, call: Call, command: p.AnyCommand) -> None:
    answer: p.Done | p.Failed | None = None
    ended = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_client, peer, call, nursery.cancel_scope)
            try:
                if context.storeless and not isinstance(command, p.Doctor):
                    raise context.storeless
                if context.daemon is None and not isinstance(command, ANY_LOG):  # a daemon has checked before it began
                    await context.call(KnownHead(context.settings).check, context.store)
                answer = await context.handler(type(command))(call, command)
            except Exception as error:  # noqa: BLE001 - one command's defect must not end the daemon
                await likeness.propose(context, error, command)
                answer = None if _is_gone(error) else failed(context, error, command)
            nursery.cancel_scope.cancel()
        ended = True
    finally:
        if not ended and call.again is not None and context.daemon and context.daemon.start_anew:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await _try_send(peer, p.Again(call.again))
    if answer is None and call.interrupted:
        with trio.move_on_after(10):
            answer = p.Failed("interrupted", 130, await call.on_interrupt())
    if answer is not None:
        await _try_send(peer, answer)
    for action in call.afterwards:
        action()


async def _watch_client(peer: Peer, call: Call, scope: trio.CancelScope) -> None:
    """Cancel the command when the client interrupts it or is gone; a task that it has dispatched goes on."""
    try:
        message = await peer.receive()
    except (trio.BrokenResourceError, trio.ClosedResourceError, msgspec.DecodeError, MaestroError):
        message = None
    call.interrupted = isinstance(message, p.Interrupt)
    scope.cancel()


def _is_gone(error: Exception) -> bool:
    """Whether all that went wrong is that the client is gone."""
    if isinstance(error, ExceptionGroup):
        return all(_is_gone(part) for part in error.exceptions)
    return isinstance(error, (trio.BrokenResourceError, trio.ClosedResourceError))


async def _try_send(peer: Peer, message: p.ServerFrame) -> None:
    try:
        await peer.send(message)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


def failed(context: Context, error: Exception, command: p.Command | None = None) -> p.Failed:
    """What a client is told of an error; a defect goes into the daemon's log, too."""
    known = user_error(error)
    if known is None:
        log.error("a command ended by a defect", exc_info=error)
        trace = "".join(traceback.format_exception(error))
        return p.Failed("defect", 1, f"defect in maestro: {error!r}", traceback=trace)
    known = placed(known, (context.settings.home, context.settings.workspace_root))
    if isinstance(known, Unknown) and command is not None:
        known.mend = how_to_repeat(command)
    return p.Failed(known.code, known.exit_code, known.what, known.where, known.mend)
