"""Timelines of small logs that have all that large ones have."""

from __future__ import annotations

import pytest

from maestro.model.settings import namespace_setting
from projections import row_cache
from projections.bounding import bounds
from replayers.timeline import packing, timeline


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waypoints are near each other, views lose rows, transactions are short, dictionaries are made."""
    monkeypatch.setattr(bounds, "EVERY", 7)
    monkeypatch.setattr(bounds, "MOST", 2)
    monkeypatch.setattr(namespace_setting, "LIMITS", {namespace_setting.KEEP: (0, 1000)})
    monkeypatch.setattr(namespace_setting, "DEFAULTS", {namespace_setting.KEEP: 4})
    monkeypatch.setattr(timeline, "A_TIME", 40)
    monkeypatch.setattr(timeline, "AT_ONCE", 9)
    monkeypatch.setattr(packing, "FIRST", 20)
    monkeypatch.setattr(packing, "GROWTH", 2)
    monkeypatch.setattr(row_cache, "KEPT_MAX", 30)
