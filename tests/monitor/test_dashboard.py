"""The dashboard is one that Grafana takes, and it and the rules ask for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from maestro.metrics import METRICS

HERE, FOLDER = Path(__file__).parent, Path(__file__).parents[2] / "tools/prometheus"
OF_HISTOGRAMS = re.compile("_(bucket|count|sum)$")


def dashboard() -> dict[str, Any]:
    """The dashboard as it is stored."""
    found: dict[str, Any] = json.loads((FOLDER / "maestro.dashboard.json").read_text())
    return found


def asked_for(text: str) -> set[str]:
    """The metrics that some expressions name."""
    names = set(re.findall(r"\bmaestro_[a-z_]+\b", text))
    return {name if name in METRICS else OF_HISTOGRAMS.sub("", name) for name in names}


def test_grafana_takes_it() -> None:
    jsonschema.validate(dashboard(), json.loads((HERE / "dashboard.schema.json").read_text()))


def test_panels_have_their_own_ids_and_do_not_lie_on_each_other() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23


def test_it_shows_every_metric_and_no_other() -> None:
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    assert asked_for(" ".join(queries)) == set(METRICS)


def test_rules_ask_for_metrics_that_there_are() -> None:
    assert asked_for((FOLDER / "maestro.rules.yml").read_text()) <= set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_the_namespace_is_never_added_up_over_its_exporters(name: str) -> None:
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    lines = [*queries, *(FOLDER / "maestro.rules.yml").read_text().splitlines()]
    if not METRICS[name].here:
        assert all(
            "max without (instance" in line for line in lines if name in asked_for(line) and "absent" not in line
        )


def test_the_document_has_a_row_for_each_metric_as_it_is_declared() -> None:
    text = (Path(__file__).parents[2] / "maestro/docs/monitoring.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `maestro_")]
    assert rows == [
        f"| `{name}` | {metric.kind} | {f'`{metric.label}`' if metric.label else '-'} | {metric.help} |"
        for name, metric in METRICS.items()
    ]
