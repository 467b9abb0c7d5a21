"""Counts what an action calls, so that a test compares work at one size with work at twice that, and never times."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType

RATIO_MAX = 2.5
"""At twice the size what is linear takes at most twice the calls, and a little; what is quadratic takes four times."""


def calls(action: Callable[[], object]) -> Counter[str]:
    """How often an action calls functions of Python and of C, in all its threads, by their names."""
    count: Counter[str] = Counter()

    def look(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            count[frame.f_code.co_name] += 1
        elif event == "c_call":
            count[getattr(argument, "__name__", "")] += 1

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return count
