"""The identity of this node: an id that is made once and kept in `node.json` of MAESTRO_HOME."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import msgspec

from maestro.model.errors import Invalid


class Identity(msgspec.Struct, frozen=True):
    """The content of `node.json`."""

    node: str


def node_id(home: Path) -> str:
    """The id of the node whose MAESTRO_HOME this is, made at the first call.

    Two first calls at once agree: the file is linked into place only if it is not there yet. Raises Invalid for a
    damaged file.
    """
    path = home / "node.json"
    while True:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Identity).node
        except FileNotFoundError:
            _create(home, path)
        except msgspec.DecodeError as error:
            raise Invalid(f"not a node file: {error}", str(path), "delete it to become a new node") from error


def _create(home: Path, path: Path) -> None:
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:32] or "node"
    draft = home / f"node.json.{os.getpid()}.{os.urandom(4).hex()}"
    draft.write_bytes(msgspec.json.encode(Identity(f"{host}-{os.urandom(3).hex()}")))
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
