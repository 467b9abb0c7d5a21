"""Rebuild of the views: all of them in one pass, next to the live ones, then one switch.

Readers never see a half-built view: they use the old generation until the switch. All views of a generation share one
checkpoint, so that a rebuild of one of them builds all.
"""

from __future__ import annotations

import msgspec

from maestro.model.errors import Invalid
from maestro.store.contract import Checkpoint, Store
from projections.fold import VIEWS, digest
from projections.log_scan import collector_at_rest
from projections.projector import Progress, Projector


class Rebuilt(msgspec.Struct, frozen=True):
    """The result. generation: the name of the new one; checkpoint: of its views; digests: by view, read back."""

    generation: str
    checkpoint: Checkpoint
    digests: dict[str, str]


def rebuild(store: Store, view: str | None = None, progress: Progress | None = None) -> Rebuilt:
    """Build all views and switch to them.

    view: whose digest is wanted, all by default. Raises Invalid for an unknown one.
    """
    if view is not None and view not in VIEWS:
        raise Invalid(f"there is no view {view!r}", mend=f"the views are {', '.join(VIEWS)}")
    projector = Projector(store, progress)
    checkpoint = projector.rebuild()
    return Rebuilt(
        projector.generation, checkpoint, digests(store, projector.generation, [view] if view else list(VIEWS))
    )


def digests(store: Store, generation: str, views: list[str]) -> dict[str, str]:
    """The digests of a generation's views as stored; of one checkpoint unless something is appended meanwhile."""
    with collector_at_rest():
        return {
            view: digest(store.views.dump(generation, view), store.views.indexes(generation, view)) for view in views
        }
