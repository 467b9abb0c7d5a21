"""The parts that a monitor runs beside its looks: each is imported where it was asked for, and only then."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from maestro.monitor.service import Options, Part

_WEBHOOKS = "maestro.monitor.webhook.courier", "deliver"
_METRICS = "maestro.monitor.exporter", "serve"
_TRACES = "maestro.monitor.traces", "follow"


def wanted(options: Options) -> list[Part]:
    """The parts that the options ask for."""
    asked = (
        (_WEBHOOKS, bool(options.webhooks)),
        (_METRICS, options.metrics_port is not None),
        (_TRACES, bool(options.otlp)),
    )
    return [_part(*place) for place, is_asked in asked if is_asked]


def _part(module: str, function: str) -> Part:
    return cast("Part", getattr(import_module(module), function))
