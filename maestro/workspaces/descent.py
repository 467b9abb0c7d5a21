"""Opens folders anywhere below a top folder through descriptors, following no link and crossing no mount.

Paths are relative and made of bytes. A path may be longer than the system's limit: it is walked name by name, and the
walk to a neighbouring folder reuses the descriptors of the common part. Only the first folders of a path are kept open;
below them, the walk goes up by `..` and checks that each folder is the one that it came down through.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType

from maestro.workspaces.mounts import open_within

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_MAX = 48


def identity(handle: int) -> tuple[int, int]:
    """The (device, inode) of an open file or folder."""
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


class Descent:
    """A walk below an open folder, for one thread. Closes the descriptors that it opened, but not the top folder."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._path = b""
        self._names: list[bytes] = []
        self._handles: list[int] = []  # descriptors of the first _KEPT_MAX folders
        self._passed: list[tuple[int, int]] = []  # (device, inode) of the folders below those
        self._deep = -1  # descriptor of the lowest folder, where it is below those

    def folder(self, path: bytes) -> int:
        """A descriptor of the folder at `path`, valid until the next call.

        Raises `OSError` for a link or anything but a folder; with EXDEV where a mount begins.
        """
        if path == self._path:
            return self._at()
        if self._path and path.startswith(self._path + b"/"):
            names = path[len(self._path) + 1 :].split(b"/")
        else:
            same = self._shared(path)
            names = path.split(b"/")[same:] if path else []
            self._back_to(same)
        for name in names:
            self._enter(name)
        self._path = path
        return self._at()

    def _at(self) -> int:
        """The descriptor of the current folder."""
        return self._deep if self._deep >= 0 else self._handles[-1] if self._handles else self._top

    def _shared(self, path: bytes) -> int:
        """How many leading names `path` has in common with the current path."""
        above = path[: path.rfind(b"/") + 1]
        if above and (self._path + b"/").startswith(above):  # a neighbour or a parent: the usual case
            same = above.count(b"/")
            is_further_up = (self._path + b"/").startswith(path + b"/")
            return same + 1 if is_further_up else same
        same = 0
        for mine, wanted in zip(self._names, path.split(b"/"), strict=False):
            if mine != wanted:
                break
            same += 1
        return same

    def _enter(self, name: bytes) -> None:
        handle = open_within(name, FOLDER_FLAGS, self._at())
        self._path = self._path + b"/" + name if self._names else name
        self._names.append(name)
        if len(self._handles) < _KEPT_MAX:
            self._handles.append(handle)
            return
        if self._deep >= 0:
            os.close(self._deep)
        self._deep = handle
        self._passed.append(identity(handle))

    def _back_to(self, count: int) -> None:
        """Go up until `count` names are left."""
        if count >= len(self._names):
            return
        if count > _KEPT_MAX:
            self._climb_to(count)
        else:
            self._close_deep()
            while len(self._handles) > count:
                os.close(self._handles.pop())
        self._path = self._path.rsplit(b"/", len(self._names) - count)[0] if count else b""
        del self._names[count:]

    def _climb_to(self, count: int) -> None:
        """Go up by `..`; where that is forbidden or leads elsewhere, come down again from the last folder kept open."""
        names = self._names[_KEPT_MAX:count]
        try:
            while len(self._passed) > count - _KEPT_MAX:
                above = open_within("..", FOLDER_FLAGS, self._deep)
                os.close(self._deep)
                self._deep = above
                self._passed.pop()
                if identity(above) != self._passed[-1]:
                    raise OSError(errno.ENOENT, "it was moved away")
        except OSError:
            self._back_to(_KEPT_MAX)
            for name in names:
                self._enter(name)

    def _close_deep(self) -> None:
        self._passed.clear()
        if self._deep >= 0:
            os.close(self._deep)
            self._deep = -1

    def close(self) -> None:
        """Close all descriptors that this object opened."""
        self._back_to(0)

    def __enter__(self) -> Descent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
