"""The parts that a monitor runs beside its looks: each is imported where it was asked for, and only then."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from maestro.monitor.service import Options, Part, Server

_WEBHOOKS = "maestro.monitor.webhook.courier", "deliver"
_METRICS = "maestro.monitor.exporter", "serve"
_TRACES = "maestro.monitor.traces", "follow"


def wanted(options: Options) -> list[Part]:
    """The parts that the options ask for."""
    asked = ((_WEBHOOKS, bool(options.webhooks)), (_TRACES, bool(options.otlp)))
    return [cast("Part", _found(*place)) for place, is_asked in asked if is_asked]


def servers(options: Options) -> list[Server]:
    """The parts that the options ask for and that listen, or cannot, before anything else is begun."""
    return [cast("Server", _found(*_METRICS))] if options.metrics_port is not None else []


def _found(module: str, function: str) -> object:
    return getattr(import_module(module), function)
