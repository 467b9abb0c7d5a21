"""The place of a namespace's shared archive, and what lies where in it.

<url>/<namespace>/archives/<uuid>          an empty-handed mark: this is the archive of that UUID
                 /<node>/packs/<id>.pack   as in the node's own archive; nobody else writes below <node>
                        /manifests/<id>    the same; the last object of a snapshot: with it the snapshot is there
                        /inventories/<id>  which packs the snapshot needs, each with size and SHA-256
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from maestro.config import Settings
from maestro.model.errors import VerificationFailed
from maestro.workspaces.objects.contract import Objects
from maestro.workspaces.objects.opening import opened

FORMAT = 1
PACKS, MANIFESTS, INVENTORIES, MARKS = "packs", "manifests", "inventories", "archives"


class SharedPlace:
    """The place of one namespace. Blocks."""

    def __init__(self, objects: Objects, namespace: str) -> None:
        self.objects = objects
        self.namespace = namespace
        self.marks = f"{namespace}/{MARKS}"

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return self.objects.place

    def of(self, node: str, *parts: str) -> str:
        """The name of what belongs to a node."""
        return "/".join((self.namespace, node, *parts))


def place_of(settings: Settings) -> SharedPlace | None:
    """The place that the settings name, None for none. Raises Invalid where a package lacks."""
    if settings.archive_url is None:
        return None
    return SharedPlace(opened(settings.archive_url), settings.namespace)


class Piece(msgspec.Struct, frozen=True):
    """A file of a snapshot as it must be. name: of it in its folder."""

    name: str
    bytes: int
    sha256: str


class Inventory(msgspec.Struct, frozen=True):
    """What a snapshot needs. trees: of each tree the names of its packs."""

    snapshot: str
    manifest: Piece
    packs: tuple[Piece, ...]
    trees: dict[str, tuple[str, ...]]
    format: int = FORMAT


def encode(inventory: Inventory) -> bytes:
    """The object of an inventory: its SHA-256, then JSON."""
    content = msgspec.json.encode(inventory)
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def decode(content: bytes, snapshot: str, where: str) -> Inventory:
    """The inventory in an object. Raises VerificationFailed where it is none, or not of this snapshot."""
    digest, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise VerificationFailed(f"the inventory of {snapshot} is damaged", where, "use another snapshot")
    try:
        format_: Any = msgspec.json.decode(rest).get("format")
        found = msgspec.json.decode(rest, type=Inventory)
    except (msgspec.MsgspecError, AttributeError) as error:
        raise VerificationFailed(f"the inventory of {snapshot} cannot be read: {error}", where) from None
    names = {piece.name for piece in found.packs}
    is_plain = all(name.endswith(".pack") and name.count(".") == 1 and "/" not in name for name in names)
    if format_ != FORMAT or found.snapshot != snapshot or not is_plain:
        raise VerificationFailed(f"the inventory of {snapshot} is another's, or of another format", where)
    return found
