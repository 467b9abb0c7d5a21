"""The golden logs of all releases replay here, byte for byte as where they were made."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from maestro import __version__
from maestro.model.events import FACTS, Unrecognised
from maestro.store.codec import chain_of, event_of
from projections.fold import VIEWS, Fold, digest, indexes_of
from projections.generations import FOLDS
from projections.lineage import Line, cuts_of
from projections.row_cache import RowCache
from tests.replayers.golden_log import FOLDER, fold, made, read

LOGS = sorted(FOLDER.glob("*.jsonl"))


@pytest.fixture(params=LOGS, ids=lambda path: path.stem)
def log(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_is_one_of_this_version_with_every_fact_that_it_knows() -> None:
    path = FOLDER / f"{__version__}.jsonl"
    entries = list(read(path))
    assert {entry.type.decode() for entry in entries} == set(FACTS)
    assert entries == list(made())


def test_every_event_of_it_is_understood_and_has_its_chain(log: Path) -> None:
    chain = ""
    for entry in read(log):
        assert not isinstance(event_of(entry).fact, Unrecognised)
        assert chain_of(chain, entry) == entry.chain
        chain = entry.chain


def test_its_views_have_the_digests_that_its_release_had(log: Path) -> None:
    told = msgspec.json.decode(log.with_suffix(".json").read_bytes())
    digests = fold(list(read(log))).digests()
    same = [view for view, version in told.get("versions", {}).items() if version == VIEWS[view].VERSION]
    assert {view: digests[view] for view in same} == {view: told["digests"][view] for view in same}
    if told["folds"] == FOLDS:
        assert digests == told["digests"]
    else:
        assert log.stem != __version__, "a fold changed: raise its VERSION, then write this version's golden log anew"


def test_rows_that_are_stored_and_loaded_after_each_event_come_to_the_same(log: Path) -> None:
    events = [event_of(entry) for entry in read(log)]
    line = Line(cuts_of(events), events[-1].seq)
    rows: dict[tuple[str, str], bytes] = {}
    indexes: dict[str, dict[str, dict[str, int]]] = {view: {} for view in Fold().views}
    for event in events:
        hot = RowCache(line)
        _, touched = hot.fitting([event], 1000)
        hot.take(touched, [rows.get(key) for key in touched])
        hot.fold.apply([event])
        for change in hot.changes(touched):
            if change.data is None:
                del rows[change.view, change.row]
            else:
                rows[change.view, change.row] = change.data
            for name in change.remove:
                del indexes[change.view][name][change.row]
            for name, score in change.add.items():
                indexes[change.view].setdefault(name, {})[change.row] = score
    fresh = fold(list(read(log)))
    for view in fresh.views:
        stored = {row_id: data for (of, row_id), data in rows.items() if of == view}
        entries = {name: scores for name, scores in indexes[view].items() if scores}
        assert entries == indexes_of(view, fresh.rows_of(view))
        assert digest(stored.items(), entries) == fresh.digest(view)
