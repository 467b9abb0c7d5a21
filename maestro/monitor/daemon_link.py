"""The link of a monitor to its node's daemon: commands of the protocol, each by a connection of its own in a thread."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from maestro.config import Settings
from maestro.model.errors import StoreAway
from maestro.runtime.client import client
from maestro.runtime.client.answers import Answer, error_of
from maestro.runtime.protocol import messages as p


class DaemonAway(StoreAway):
    """The daemon of this node does not run, or does not answer. It may be starting anew."""

    code = "daemon_away"


class DaemonLink:
    """Commands to the daemon of this node.

    A daemon that was shut down is not started again by what only watches it, but where that is asked for; nor is the
    embedded store, but `here`: then what needs no daemon is carried out in this process where none runs.
    """

    def __init__(self, settings: Settings, here: bool = False) -> None:
        self.settings = settings
        self._here = here
        self._limiter = trio.CapacityLimiter(8)

    async def ask(self, command: p.Command, start: bool = False) -> Answer:
        """Have a command carried out. start: start the daemon where it does not run and MAESTRO_AUTOSTART allows.

        Raises MaestroError as the command does, StoreAway where the store is away, DaemonAway where the daemon is.
        """
        settings = self.settings if start else msgspec.structs.replace(self.settings, autostart=False)
        return await trio.to_thread.run_sync(
            self._ask, command, settings, limiter=self._limiter, abandon_on_cancel=True
        )

    def _ask(self, command: p.Command, settings: Settings) -> Answer:
        rows: list[Any] = []

        def take(frame: p.Note | p.Item | p.Output) -> None:
            if isinstance(frame, p.Item):
                rows.append(frame.data)

        try:
            end = client.execute(command, settings, take, self._here)
        except client.NoDaemon as error:
            raise DaemonAway("no daemon runs on this node", error.where, error.mend) from None
        except StoreAway as error:  # the client's: what the daemon says of the store is an answer
            raise DaemonAway(error.what, error.where, error.mend) from None
        except OSError as error:  # its socket broke
            raise DaemonAway(f"the daemon of this node does not answer: {error.strerror or error}") from None
        if isinstance(end, p.Failed):
            raise error_of(end)
        return Answer(rows, end.data, end.exit_code)
