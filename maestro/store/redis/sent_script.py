"""A script that was sent to the server, while its caller works on and takes the reply later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maestro.store.redis.connection import Connection, ReplyLost, ReplyTimeout, Word
from maestro.store.redis.pool import ConnectionPool, Script
from maestro.store.redis.refusals import Moved, ServerBusy


class SentScript:
    """A call of a script that was sent on a connection of its own, and whose reply is not taken yet.

    It is one that may be repeated: where the connection is lost meanwhile, it is sent again.
    """

    def __init__(self, pool: ConnectionPool, script: Script, keys: Sequence[str], args: Sequence[Word]) -> None:
        self._pool = pool
        self._call = (script, keys, args)
        self._connection: Connection | None = None
        try:
            self._connection = pool.take()
            script.send(self._connection, keys, args)
        except (ReplyLost, ServerBusy):  # `result` sends it, and waits for a server that is busy
            self.abandon()
        except BaseException:
            self.abandon()
            raise

    def result(self) -> Any:
        """Wait for the reply; the result of the script."""
        connection, self._connection = self._connection, None
        if connection is None:
            return self._pool.script(*self._call)
        script, keys, args = self._call
        try:
            found = script.settle(connection, keys, args, connection.receive())
        except ReplyTimeout:
            connection.close()
            raise
        except (ReplyLost, ServerBusy, Moved):
            connection.close()
            return self._pool.script(*self._call)
        except BaseException:
            connection.close()
            raise
        self._pool.give(connection)
        return found

    def abandon(self) -> None:
        """Do without the reply; the script may be executed or not."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
