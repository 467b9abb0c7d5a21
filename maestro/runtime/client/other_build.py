"""A daemon of another build, and how long a command waits for it to become one of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from maestro import __version__
from maestro.config import Settings
from maestro.model.errors import Refused
from maestro.runtime.protocol import messages as p

Show = Callable[[p.Note | p.Item | p.Output], None]

SKEW_POLL_S = 0.3
SKEW_S_MAX = 20.0
"""How long a daemon of another build that has no runs may take until one of this build has replaced it."""


class OtherBuild:
    """A daemon of another build, which starts anew in place when its last run has ended: as one of this build, if the
    program has been replaced since it started. skew: what it said last. was_away: nobody listened since.
    """

    def __init__(self, settings: Settings, show: Show) -> None:
        self.settings = settings
        self.skew: p.Skew | None = None
        self.was_away = False
        self._show = show
        self._busy_at = 0.0

    def wait_out(self, skew: p.Skew) -> None:
        """Sleep a moment for it. Raises Refused where it stays as it is."""
        if self.skew is None:
            self._show(p.Note(_skew_note(skew), "warn"))
        anew = self.was_away and self.skew is not None and self.skew.build == skew.build
        self._busy_at = time.monotonic() if skew.running or self.skew is None else self._busy_at
        self.skew = skew
        if anew or time.monotonic() - self._busy_at > SKEW_S_MAX:
            raise self._stays(skew.build)
        time.sleep(SKEW_POLL_S)

    def _stays(self, build: str) -> Refused:
        from maestro.runtime.node import daemon_lock

        holder = daemon_lock.holder(self.settings.home)
        mend = "use one installation of Maestro for this MAESTRO_HOME"
        what = f"the daemon of this node stays at build {build}, this is {__version__}"
        return Refused(what, mend=f"{mend}: {holder.remedy}" if holder else mend)


def _skew_note(skew: p.Skew) -> str:
    runs = f"{skew.running} run{'' if skew.running == 1 else 's'}"
    return f"the daemon of this node is of build {skew.build}; waiting until it has finished {runs} and starts anew"
