"""Ways down into a tree through descriptors, following no link: what is opened is what lies there.

Paths are relative and made of bytes. A path may be deeper than the system's longest: it is walked name by name, and
neighbours share the way that they have in common.
"""

from __future__ import annotations

import os
from types import TracebackType

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_MAX = 48


class Descent:
    """One walker below an open folder. Not for two threads. Closes what it opened, not the folder itself."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._names: list[bytes] = []
        self._handles: list[int] = []
        self._deep: tuple[bytes, int] | None = None

    def folder(self, path: bytes) -> int:
        """A descriptor of the folder at `path`, until the next call. Raises `OSError` for a link or no folder."""
        if not path:
            return self._top
        names = path.split(b"/")
        same = 0
        for mine, wanted in zip(self._names, names, strict=False):
            if mine != wanted:
                break
            same += 1
        self._close_from(same)
        for name in names[same:_KEPT_MAX]:
            handle = os.open(name, FOLDER_FLAGS, dir_fd=self._handles[-1] if self._handles else self._top)
            self._names.append(name)
            self._handles.append(handle)
        if len(names) > _KEPT_MAX:
            return self._far(path, names[_KEPT_MAX:])
        return self._handles[-1]

    def _far(self, path: bytes, names: list[bytes]) -> int:
        """Beyond what is kept open: only the last one is, which serves its own children."""
        at = self._handles[-1]
        if self._deep is not None:
            before, handle = self._deep
            if before == path:
                return handle
            if path.startswith(before + b"/"):
                at, names = handle, path[len(before) + 1 :].split(b"/")
        first = at
        for name in names:
            try:
                deeper = os.open(name, FOLDER_FLAGS, dir_fd=at)
            finally:
                if at != first:
                    os.close(at)
            at = deeper
        self._close_deep()
        self._deep = path, at
        return at

    def _close_deep(self) -> None:
        if self._deep is not None:
            os.close(self._deep[1])
            self._deep = None

    def _close_from(self, count: int) -> None:
        if count < len(self._names):
            self._close_deep()
        while len(self._handles) > count:
            os.close(self._handles.pop())
            self._names.pop()

    def close(self) -> None:
        """Close every descriptor that it opened."""
        self._close_deep()
        self._close_from(0)

    def __enter__(self) -> Descent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
