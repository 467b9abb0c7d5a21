"""The exclusion of runs of other homes from folders that are replaced or removed."""

from __future__ import annotations

import time
from collections.abc import Iterable

from maestro.model.errors import Refused
from maestro.runtime.supervision.folder_lock import FolderLock

PATIENCE_S = 3.0
"""How long the warden of a run that has just ended may take to unlock its folder."""
_PAUSE_S = 0.05


class Exclusion:
    """Locks these folders against the runs of other homes, from `take` to `release`.

    folders: absolute paths without links; an absent one is fine. The runs of this home are to be stopped before: their
    wardens hold the same locks.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        self._locks = {folder: FolderLock(folder) for folder in folders}

    def take(self) -> None:
        """Lock all folders. Blocks for a moment. Raises Refused naming a folder that a run writes: then
        none is locked.
        """
        deadline = time.monotonic() + PATIENCE_S
        try:
            for folder, lock in self._locks.items():
                while not _is_taken(lock):
                    if time.monotonic() > deadline:
                        what = (
                            f"{folder!r}, or a folder above or inside it, is written by a run of another MAESTRO_HOME"
                        )
                        raise Refused(
                            what, "workspace", "stop that run there (maestro agent stop), then run this again"
                        )
                    time.sleep(_PAUSE_S)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Unlock all folders."""
        for lock in self._locks.values():
            lock.release()


def _is_taken(lock: FolderLock) -> bool:
    try:
        return lock.take()
    except OSError:  # the folder does not exist, so that nobody writes it
        return True
