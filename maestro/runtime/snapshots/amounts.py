"""Amounts of bytes as people read them."""

from __future__ import annotations


def size(count: float) -> str:
    """A number of bytes: 12 B, 3.4 MB, 210 GB."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:.0f} {unit}" if count >= 99.5 or unit == "B" else f"{count:.1f} {unit}"
