"""The commands that a client can send, one struct each: the names are those of the command line.

`maestro.runtime.protocol.messages` exports all of them; import them from there. "Items: X" means that the answer is a
list, one `Item` per row, and `Done.data` is None. "Data: X" means that it is one object, in `Done.data`. Rows are
JSON-ready: times are RFC 3339 UTC strings, so that all clients show the same.
"""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. Ids and texts are as typed; the handler validates them."""
