"""Shared state: keys with values and a time to live."""

from __future__ import annotations

import msgspec

from maestro.model.events import Text


class StateKey(msgspec.Struct, omit_defaults=True):
    """Row of the view `state`. expires_at: server ms, 0 for never; readers hide it from then on."""

    key: str
    version: int
    value: Text
    set_at: int
    expires_at: int = 0
    actor: str = ""
