"""The service manager that has started a daemon, told how it is: the protocol of `sd_notify`, in a few lines of ours.

`READY=1` once the node takes work, `WATCHDOG=1` while it really goes on: the task that says so runs in the daemon's
loop, and says nothing while the follower of the log stands still. Of a follower that cannot go on, or whose store is
away, the status tells: to start anew would end runs, and mend nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping

import trio

from maestro.runtime.node.daemon_log import seldom

SOCKET, WATCHDOG_USEC, WATCHDOG_PID = VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
TELL_EVERY_S = 5.0
STILL_S_MAX = 30.0
"""How long a follower may take for one step: a read of the log takes 2 s at most, a restore loads the plan anew."""


class ServiceNotices:
    """Who is to be told; nobody where NOTIFY_SOCKET is not set. every_s: how often it must hear, 0 for never."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the variables out of an environment, so that no program that is started here has them."""
        self._variables = {name: environment.pop(name) for name in VARIABLES if name in environment}
        self._address = self._variables.get(SOCKET, "")
        self.every_s = 0.0
        usec = self._variables.get(WATCHDOG_USEC, "")
        if usec.isdigit() and self._variables.get(WATCHDOG_PID, str(os.getpid())) == str(os.getpid()):
            self.every_s = int(usec) / 1e6

    def hand_on(self) -> dict[str, str]:
        """The variables that the program needs which this process becomes."""
        return dict(self._variables)

    def tell(self, *lines: str) -> None:
        """Tell something. A service manager that cannot be told is no reason to end."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except OSError as error:
            seldom.warn("service manager", f"{self._address}: {error}")

    async def keep(self, status: Callable[[], str], still_s: Callable[[], float]) -> None:
        """Tell what the daemon does, and that it goes on, for ever. still_s: how long the follower has not moved."""
        if not self._address:
            return
        told = ""
        while True:
            lines = ["WATCHDOG=1"] if self.every_s and still_s() < STILL_S_MAX else []
            now = status().replace("\n", " ")
            if now != told:
                lines.append(f"STATUS={now}")
                told = now
            if lines:
                self.tell(*lines)
            await trio.sleep(min(TELL_EVERY_S, self.every_s / 3 or TELL_EVERY_S))
