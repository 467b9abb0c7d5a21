"""What a snapshot says about itself: as it is kept, read again, of an earlier version, and of somebody who lies."""

from __future__ import annotations

import pytest

from maestro.model.errors import VerificationFailed
from maestro.model.events import SnapshotMissing, SnapshotWorkspace
from maestro.runtime.snapshots.meta import SnapshotMeta, decode, encode

TREES = ["workspaces/ann", "checkpoint"]
META = SnapshotMeta(
    namespace="default",
    node="n1",
    position=7,
    chain="ab",
    digests={"agents": "cd"},
    folds="3",
    workspace_root="/root",
    reason="asked",
    taken_at=1_700_000_000_000,
    workspaces=(SnapshotWorkspace("ann", "/w/ann", "workspaces/ann", 7),),
    missing=(SnapshotMissing("bob", "/w/bob", "is not there"),),
    containers=({"agent": "ann", "image": "busybox"},),
)
KEPT = {
    "format": 1,
    "namespace": "default",
    "node": "n1",
    "position": 7,
    "chain": "ab",
    "digests": {"agents": "cd"},
    "folds": "3",
    "workspace_root": "/root",
    "reason": "asked",
    "automatic": False,
    "taken_at": 1_700_000_000_000,
    "rolling": False,
    "workspaces": [{"agent": "ann", "workspace": "/w/ann", "tree": "workspaces/ann", "position": 7, "mounted": None}],
    "missing": [{"agent": "bob", "workspace": "/w/bob", "why": "is not there"}],
    "containers": [{"agent": "ann", "image": "busybox"}],
}


def test_it_is_kept_as_earlier_versions_kept_it_and_read_again() -> None:
    assert list(encode(META).items()) == list(KEPT.items())
    assert decode(KEPT | {"not_held": ["workspaces/ann/mnt"]}, TREES, "here").not_held == ("workspaces/ann/mnt",)
    assert decode(KEPT, TREES, "here") == META


def test_one_of_an_earlier_version_lacks_what_that_did_not_know() -> None:
    first = {name: KEPT[name] for name in ("format", "namespace", "node", "position", "chain")}
    workspaces = [{"agent": "ann", "workspace": "/w/ann", "tree": "workspaces/ann", "position": 7}]
    found = decode(first | {"workspaces": workspaces}, TREES, "here")
    assert (found.workspaces, found.missing, found.not_held, found.automatic) == (META.workspaces, (), (), False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "it has the format 2, not 1"),
        ({"position": "7"}, "it is no snapshot of Maestro's"),
        ({"workspaces": None}, "it is no snapshot of Maestro's"),
        ({"workspaces": [{"agent": "ann", "workspace": "w", "tree": "checkpoint", "position": 7}]}, "impossible"),
        ({"workspaces": [{"agent": "ann", "workspace": "/w/../x", "tree": "checkpoint", "position": 7}]}, "impossible"),
        ({"workspaces": [{"agent": "../a", "workspace": "/w", "tree": "checkpoint", "position": 7}]}, "impossible"),
        ({"workspaces": [{"agent": "ann", "workspace": "/w", "tree": "other", "position": 7}]}, "impossible"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(change: dict[str, object], said: str) -> None:
    with pytest.raises(VerificationFailed, match=said) as refused:
        decode(KEPT | change, TREES, "here")
    assert "\n" not in refused.value.line()
