"""The commands that a client asks for, one struct each: the names are those of the command line.

All are gathered and made public in `maestro.runtime.protocol.messages`; import them from there. "Items: X" says that
the answer is a list, one `Item` a row, and `Done.data` is None. "Data: X" says that it is one object, in `Done.data`.
Rows are JSON-ready: times are RFC 3339 UTC strings, all clients show the same.
"""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. Ids and texts are as typed; the handler validates them."""
