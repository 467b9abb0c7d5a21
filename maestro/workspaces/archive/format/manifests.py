"""Manifests on the disk: one small file for each snapshot, which names the root of each tree's listing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import zstandard

from maestro import files
from maestro.model.errors import Invalid, NotFound, VerificationFailed
from maestro.workspaces.archive.format.entries import FORMAT, NAME, Manifest, are_tree_names
from maestro.workspaces.archive.format.layout import Layout, put
from maestro.workspaces.archive.format.packs import compressed, decompressed

_HEAD = b"MAESTROM"
_BYTES_MAX = 256 << 20
_MEND = "restore the file from a copy, or use another snapshot"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Manifest)


def path_of(layout: Layout, snapshot: str) -> Path:
    """The path of a snapshot's manifest. Raises `Invalid` for an id that cannot be a file name."""
    if not NAME.fullmatch(snapshot):
        raise Invalid(f"{snapshot!r} cannot name a snapshot", mend="use letters, digits, dot, dash and underscore")
    return layout.manifests / snapshot


def write(layout: Layout, manifest: Manifest) -> tuple[str, int]:
    """Write a manifest durably, which makes the snapshot exist.

    Returns its SHA-256, which is its id, and its size in bytes.
    """
    content = _HEAD + compressed(_encoder.encode(manifest))
    digest = hashlib.sha256(content).digest()
    put(layout, path_of(layout, manifest.snapshot), content + digest)
    return digest.hex(), len(content) + len(digest)


def read(layout: Layout, snapshot: str) -> tuple[Manifest, str]:
    """The manifest of a snapshot, and its id.

    Raises `NotFound`, or `VerificationFailed` where any byte of it is damaged.
    """
    path = path_of(layout, snapshot)
    try:
        found = files.content(path, _BYTES_MAX)
    except FileNotFoundError:
        what = f"there is no snapshot {snapshot!r}"
        raise NotFound(
            what, where=str(layout.root), mend="maestro state snapshots lists all", sought=("snapshot", snapshot)
        ) from None
    except OSError as error:
        raise VerificationFailed(f"it cannot be read: {error.strerror}", f"manifest {snapshot}", _MEND) from None
    where = f"manifest {snapshot}"
    content, digest = found[:-32], found[-32:]
    if not content.startswith(_HEAD) or hashlib.sha256(content).digest() != digest:
        raise VerificationFailed("it is damaged: its digest does not match", where, _MEND)
    try:
        raw = decompressed(content[len(_HEAD) :], _BYTES_MAX)
        version = msgspec.msgpack.decode(raw, type=list[object])[0]
        if version != FORMAT:
            raise Invalid(f"has the format {version!r}, not {FORMAT}", where, "use the Maestro that made it")
        manifest = _decoder.decode(raw)
    except (msgspec.MsgspecError, zstandard.ZstdError, IndexError) as error:
        raise VerificationFailed(f"it cannot be read: {error}", where, _MEND) from None
    if manifest.snapshot != snapshot:
        raise VerificationFailed(f"it is the manifest of {manifest.snapshot!r}", where, _MEND)
    names = [tree.name for tree in manifest.trees]
    if not are_tree_names(names):
        raise VerificationFailed("its trees have impossible names", where, _MEND)
    return manifest, digest.hex()


def listed(layout: Layout) -> list[str]:
    """The ids of all snapshots, including those with a damaged manifest."""
    return sorted(path.name for path in layout.manifests.iterdir())
