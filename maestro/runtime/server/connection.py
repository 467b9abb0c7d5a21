"""The server's side of a connection: a handshake, one command, its answer.

The daemon and the in-process server run this same code. A run's own socket runs it with `run` set, so that an agent can
use nothing but `state`, and what its type delegates.
"""

from __future__ import annotations

import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from maestro import __version__
from maestro.model.coordination.releases import HERE, release_of
from maestro.model.errors import MaestroError, Refused, Unknown
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import placed, user_error
from maestro.runtime.node.known_head import KnownHead
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.frames import frame
from maestro.runtime.protocol.repetition import how_to_repeat
from maestro.runtime.server import likeness
from maestro.runtime.server.run_rights import check_rights

RECEIVE_BYTES_MAX = 1024 * 1024
TOGETHER_BYTES_MAX = 64 * 1024
"""So much of an answer is sent together, at most."""

_client_frames = msgspec.msgpack.Decoder(p.ClientFrame)


class Peer:
    """The client at the other end of a connection. Its methods raise trio.BrokenResourceError where it is gone."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._rows = trio.lowlevel.ParkingLot()
        self._sending = trio.Lock()

    @property
    def pid(self) -> int:
        """The process id of the client, 0 where the system does not tell."""
        if sys.platform != "linux":
            return 0
        credentials = self.stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder)

    async def send(self, message: p.ServerFrame) -> None:
        """Send one frame; frames of concurrent senders do not mix.

        A row is sent by `send_rows`, with those that follow it at once: a list of many is a few calls, not one a row.
        """
        self._unsent += frame(message)
        if isinstance(message, p.Item) and len(self._unsent) < TOGETHER_BYTES_MAX:
            self._rows.unpark()
        else:
            await self._send_all()

    async def send_rows(self) -> None:
        """Send rows whenever the command waits for something else, for ever; returns where the client is gone."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self._rows.park()
                await self._send_all()

    async def _send_all(self) -> None:
        """Send what is not sent yet. What a cancellation leaves over is sent first by the next call."""
        async with self._sending:
            try:
                while self._unsent:
                    count = await self.stream.socket.send(self._unsent)
                    del self._unsent[:count]
            except OSError as error:
                raise trio.BrokenResourceError from error

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
    """Serve one client to its end. run: the run that the client is a process of, with its rights."""
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
    same_build = hello.build == __version__ and hello.folds in ("", context.folds)
    if hello.protocol != p.PROTOCOL or not (run or same_build):  # what a run may ask for is the same in all builds
        await _turn_away(context, peer, hello, run)
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
        check_rights(context.settings.namespace, run, command)
        caller = msgspec.structs.replace(caller, actor=f"run:{run}")
    elif isinstance(command, p.OF_MONITORS):
        caller = msgspec.structs.replace(caller, actor=f"monitor:{context.node}")
    call = Call(context, caller, peer.send)
    call.run = run
    await _carry_out(context, peer, call, command)


async def _turn_away(context: Context, peer: Peer, hello: p.Hello, run: str) -> None:
    """Answer a client of another build: this daemon starts anew, but not for an older release, as it would be the same.

    An older client that only reads does so beside this daemon when it is turned away. One that comes again, a moment
    later, waits for another daemon, which never comes: it is refused.
    """
    older = () < release_of(hello.build) < HERE
    if older and not run:
        if peer.pid in context.turned_away:
            await peer.send(_too_old(context, hello.build))
            return
        context.turned_away.append(peer.pid)
    await peer.send(p.Skew(__version__, p.PROTOCOL, 0 if older else context.running()))
    if not older and not run:  # what an agent brings with it must not restart its node
        context.drain("another build asked for this node")


def _too_old(context: Context, build: str) -> p.Failed:
    here = Path(sys.executable).with_name("maestro")
    what = f"this command is of Maestro {build}, and the daemon of this node of {__version__}, which is newer"
    mend = f"use {here}" if here.exists() else f"use {sys.executable} -m maestro"
    return p.Failed(Refused.code, Refused.exit_code, what, str(context.settings.home), mend)


async def _carry_out(context: Context, peer: Peer, call: Call, command: p.AnyCommand) -> None:
    answer: p.Done | p.Failed | None = None
    ended = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_client, peer, call, nursery.cancel_scope)
            nursery.start_soon(peer.send_rows)
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
