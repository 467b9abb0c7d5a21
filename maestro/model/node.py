"""A node: one host running a Maestro daemon."""

from __future__ import annotations

import msgspec


class Node(msgspec.Struct, omit_defaults=True):
    """Row of the view `nodes`. status: up, left or lost. held: it was shut down and waits for `node.resumed`."""

    id: str
    version: int
    host: str
    incarnation: str
    pid: int
    max_concurrent: int
    build: str
    home: str = ""
    status: str = "up"
    held: bool = False
    joined_at: int = 0
    changed_at: int = 0
    reason: str = ""
