"""What happens to nodes."""

from __future__ import annotations

from maestro.model.facts import Fact


class NodeJoined(Fact, frozen=True):
    """`node:<id>`: a daemon started there. incarnation: unique per daemon start."""

    node: str
    host: str
    incarnation: str
    pid: int
    max_concurrent: int
    build: str
    home: str = ""


class NodeHeld(Fact, frozen=True):
    """`node:<id>`: no run is released to it until `NodeResumed`, as it was shut down or is restarting."""

    node: str
    reason: str = ""


class NodeResumed(Fact, frozen=True):
    """`node:<id>`: takes work again (`up`, `agent restart`, `agent assign`, a new dispatch)."""

    node: str
    reason: str = ""


class NodeLeft(Fact, frozen=True):
    """`node:<id>`: its daemon ended in order."""

    node: str
    reason: str = ""


class NodeLost(Fact, frozen=True):
    """`node:<id>`: its lease ran out."""

    node: str
    reason: str = ""
