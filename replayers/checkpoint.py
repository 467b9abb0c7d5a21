"""A checkpoint: the log up to a position in a folder, with all that is needed to build every view at it again.

    checkpoint.json               what is in the folder, and the digests of the views
    log/<first>-<last>-….seg      the events 1..position, in ranges that are the same in each checkpoint
    blobs/<aa>/<sha256>.zst       the texts that these events name
    registry.yaml                 types and agents, for people

The same history gives the same files, but for the last ones, so that what keeps checkpoints keeps little more than
what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain as chained
from pathlib import Path
from typing import Literal

import msgspec

from maestro import files
from maestro.model.errors import Invalid, NotFound, Refused, VerificationFailed, ViewDamaged
from maestro.model.events import Event
from maestro.store.codec import event_of
from maestro.store.contract import Entry, Store
from maestro.store.redis.blobs import compress, decompress, frame_size
from projections import agents
from projections.fold import VIEWS, Fold, Stopped
from projections.generations import FOLDS
from projections.lineage import Line, cuts_of
from projections.projector import Projector
from replayers import ranges, segments
from replayers.ranges import between, entry_at, spans, whole
from replayers.rebuild import digests as stored_digests
from replayers.registry import LIMITS, Registry, check_apart, parsed, registry_of, written
from replayers.rewind import folded
from replayers.sealed import Segments, sealed_of
from replayers.whole_file import linked, placed, refusing

FORMAT = 1
JSON = "checkpoint.json"
REGISTRY = "registry.yaml"
JSON_BYTES_MAX = 1 << 23
REGISTRY_BYTES_MAX = LIMITS.bytes_max
BLOB_BYTES_MAX = 1 << 27


class Piece(msgspec.Struct, frozen=True):
    """A segment of a checkpoint. file: its name below `log`."""

    file: str
    sha256: str


class Checkpoint(msgspec.Struct, frozen=True):
    """What a checkpoint holds. at: server time of the position, ms; folds: the fold versions that the digests are of.

    blobs: how many; missing: those that events name and that the store had lost before.
    """

    position: int
    chain: str
    at: int
    digests: dict[str, str]
    folds: str
    blobs: int
    events: int
    namespace: str
    pieces: list[Piece]
    missing: list[str]
    format: int = FORMAT


class _File(msgspec.Struct, frozen=True):
    """The file `checkpoint.json`. sha256: of the checkpoint in canonical JSON."""

    checkpoint: Checkpoint
    sha256: str


def write(store: Store, folder: Path, position: int) -> Checkpoint:
    """Fill `folder`, which is made if absent, with the log up to a position that it has reached.

    Whole ranges are taken from where the log is sealed, and kept there for the next time. Raises Invalid for an
    impossible position, VerificationFailed for a damaged log, Stopped where an event is of a later build, Refused
    where the disk is full.
    """
    end = entry_at(store, position)
    if end is None:
        raise Invalid(f"there is no position {position}", mend=f"the log goes from 1 to {store.log.head().seq}")
    with refusing(folder):
        return _written(store, folder, end)


def _written(store: Store, folder: Path, end: Entry) -> Checkpoint:
    sealed, log = sealed_of(store), folder / "log"
    log.mkdir(mode=0o700, parents=True, exist_ok=True)
    pieces: list[Piece] = []
    named: set[str] = set()
    before = ""
    for first, last in spans(1, end.seq):
        path = _piece(store, log, (first, last, before), sealed)
        header = segments.header(path)
        pieces.append(Piece(path.name, segments.digest(path)))
        named.update(header.blobs)
        before = header.chain
    missing = [name for name in sorted(named) if not _blob(store, folder, name, sealed)]
    digests, registry = _views_at(store, end.seq)
    text = written(registry)
    if len(text) > REGISTRY_BYTES_MAX:
        raise Refused(f"the registry has {len(text):,} bytes, more than can be read again", str(folder / REGISTRY))
    (folder / REGISTRY).write_bytes(text)
    counts = (len(named) - len(missing), end.seq)
    found = Checkpoint(end.seq, end.chain, end.at, digests, FOLDS, *counts, store.namespace, pieces, missing)
    (folder / JSON).write_bytes(encoded(found))
    return found


def encoded(found: Checkpoint) -> bytes:
    """A checkpoint as its file has it."""
    canonical = msgspec.json.encode(found, order="deterministic")
    file = _File(found, hashlib.sha256(canonical).hexdigest())
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"


def _piece(store: Store, log: Path, span: tuple[int, int, str], sealed: Segments | None) -> Path:
    """The segment first..last in the folder `log`."""
    first, last, before = span
    if sealed is not None and last - first + 1 == ranges.LARGE:
        with suppress(Refused, Invalid):  # keeping the segment here too only saves the next checkpoint its making
            path = whole(store, sealed, span).path
            linked(path, log / path.name)
            return log / path.name
    return segments.write(log, store.namespace, between(store, first, last), before, durable=False).path


def _blob(store: Store, folder: Path, name: str, sealed: Segments | None) -> bool:
    """Put a blob into the folder; False where there is none any more."""
    path = _blob_path(folder, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sealed is not None and sealed.blob_path(name).exists():
        linked(sealed.blob_path(name), path)
        return True
    data = store.blobs.get(name)
    if data is None:
        return False
    with placed(path, durable=False) as file:
        file.write(compress(data))
    return True


def _blob_path(folder: Path, name: str) -> Path:
    return folder / "blobs" / name[:2] / f"{name}.zst"


def _views_at(store: Store, position: int) -> tuple[dict[str, str], Registry]:
    """The digests of all views at a position, and the registry there: from the live views where they stand there."""
    projector = Projector(store)
    if projector.catch_up().seq == position:
        generation = projector.generation
        with suppress(ViewDamaged):  # the log is folded instead; whoever reads the live views next builds them anew
            digests = stored_digests(store, generation, list(VIEWS))
            rows = {row: agents.decode(row, data) for row, data in store.views.dump(generation, agents.NAME)}
            checkpoint = store.views.checkpoint(generation)
            if (checkpoint.seq, checkpoint.stopped, store.views.current()) == (position, "", generation):
                return digests, registry_of(rows)
    fold = folded(store, position)
    return fold.digests(), registry_of(fold.rows_of(agents.NAME))


def look(folder: Path) -> Checkpoint:
    """What a checkpoint says of itself. Raises NotFound, VerificationFailed, Invalid for one of another format."""
    path = folder / JSON
    try:
        files.check_plain(folder)
        data = files.content(path, JSON_BYTES_MAX)
        found = msgspec.json.decode(data, type=_File).checkpoint
    except FileNotFoundError:
        raise NotFound("there is no checkpoint of a log here", str(folder)) from None
    except OSError as error:
        where = str(error.filename or path)
        raise VerificationFailed(f"cannot be read: {error.strerror}", where, "do not trust this archive") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise VerificationFailed(f"cannot be read: {error}", str(path)) from None
    if found.format != FORMAT:
        raise Invalid(f"is of format {found.format}", str(path), "use the version of Maestro that made it")
    if encoded(found) != data:
        raise VerificationFailed("is not as it was written", str(path))
    if any("/" in piece.file or piece.file.startswith(".") for piece in found.pieces):
        raise VerificationFailed("names files that cannot be its own", str(path))
    return found


def events(folder: Path, after: int = 0, upto: int | None = None) -> Iterator[list[Event]]:
    """The events after+1..upto of a checkpoint (default: all). Raises VerificationFailed."""
    found = look(folder)
    last = found.position if upto is None else upto
    for path, header in _segments(folder, found):
        if header.last > after and header.first <= last:
            for entries in segments.read(path):
                some = [event_of(entry) for entry in entries if after < entry.seq <= last]
                if some:
                    yield some


def _segments(folder: Path, found: Checkpoint) -> Iterator[tuple[Path, segments.Header]]:
    """The segments in order, each beginning where the one before it ends; what is in them is not read."""
    last, chain = 0, ""
    for piece in found.pieces:
        path = folder / "log" / piece.file
        header = segments.header(path)
        if (header.first, header.before) != (last + 1, chain):
            raise VerificationFailed(f"does not continue the log behind position {last}", str(path))
        last, chain = header.last, header.chain
        yield path, header
    if (last, chain) != (found.position, found.chain):
        raise VerificationFailed(f"the log ends at {last}, not at {found.position}", str(folder / "log"))


def verify(folder: Path) -> Checkpoint:
    """Read all of it: every file's digest, every event's chain, every blob, and the views that the events fold to.

    The digests of the views are compared where this build folds as the one that took it. Raises VerificationFailed
    naming the file, the position or the view; NotFound, Invalid.
    """
    found = look(folder)
    named: set[str] = set()
    cuts = []
    for piece, (path, header) in zip(found.pieces, _segments(folder, found), strict=True):
        if segments.digest(path) != piece.sha256:
            raise VerificationFailed("is not the file that was taken: its SHA-256 differs", str(path))
        named.update(header.blobs)
        for entries in segments.read(path):
            cuts += cuts_of(event_of(entry) for entry in entries if entry.type == b"restore.done")
    if found.events != found.position or found.blobs != len(named.difference(found.missing)):
        raise VerificationFailed("it does not hold what it says", str(folder / JSON))
    for name in sorted(named.difference(found.missing)):
        _content(folder, name)
    registry(folder)
    if found.folds == FOLDS:
        _compare(folder, found, Fold(Line(cuts, found.position)))
    return found


def _compare(folder: Path, found: Checkpoint, fold: Fold) -> None:
    try:
        for some in events(folder):
            fold.apply(some)
    except Stopped as stopped:
        raise VerificationFailed(stopped.reason, str(folder)) from None
    for view, digest in fold.digests().items():
        if found.digests.get(view) != digest:
            what = f"the view {view} that its events fold to is not the one that was taken"
            raise VerificationFailed(what, str(folder))
    if written(registry_of(fold.rows_of(agents.NAME))) != _registry(folder):
        raise VerificationFailed("is not the registry that its events fold to", str(folder / REGISTRY))


def _content(folder: Path, name: str) -> bytes:
    path = _blob_path(folder, name)
    try:
        frame = files.content(path, BLOB_BYTES_MAX)
    except FileNotFoundError:
        raise VerificationFailed("the blob is missing", str(path)) from None
    except OSError as error:
        raise VerificationFailed(f"the blob cannot be read: {error.strerror}", str(path)) from None
    if frame_size(frame) > BLOB_BYTES_MAX:
        raise VerificationFailed("the blob is too large", str(path))
    return decompress(name, frame)


def registry(folder: Path) -> Registry:
    """The types and agents that there were. Raises VerificationFailed, Invalid."""
    found = parsed(_registry(folder), str(folder / REGISTRY))
    check_apart(((agent.id, agent.node, agent.workspace) for agent in found.agents), REGISTRY)
    return found


def _registry(folder: Path) -> bytes:
    path = folder / REGISTRY
    try:
        return files.content(path, REGISTRY_BYTES_MAX)
    except OSError as error:
        raise VerificationFailed(f"cannot be read: {error.strerror}", str(path)) from None


def same_history(store: Store, position: int, chain: str) -> Literal["same", "empty", "other"]:
    """Whether the store's log has this event at this position, has no event at all, or is another log."""
    if store.log.head().seq == 0:
        return "empty"
    end = entry_at(store, position)
    return "same" if end is not None and end.chain == chain else "other"


def load(store: Store, folder: Path) -> Checkpoint:
    """Fill an empty namespace: the events as they were, the versions of all subjects, and the blobs.

    Whole or not at all: where it was ended midway the log is still empty, and running it again does it. Where the log
    is there already, nothing is done. Raises Refused for another log, VerificationFailed, StoreAway.
    """
    found = look(folder)
    match same_history(store, found.position, found.chain):
        case "same":
            return found
        case "other":
            raise Refused(
                f"the namespace {store.namespace} has a log of its own", "store", "load into an empty namespace"
            )
    headers = list(_segments(folder, found))
    for name in sorted(set(chained.from_iterable(header.blobs for _, header in headers)).difference(found.missing)):
        store.blobs.put(_content(folder, name))
    parts: Iterable[list[Entry]] = chained.from_iterable(segments.read(path) for path, _ in headers)
    head = store.log.load(parts)
    if (head.seq, head.chain) != (found.position, found.chain):
        raise VerificationFailed(f"the log that was loaded ends at {head.seq}", str(folder))
    return found
