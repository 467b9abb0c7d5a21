"""Maestro: an event-sourced orchestrator of AI agents on Redis Streams.

For programs: `from maestro import connect, errors` (`maestro help python`). `__init__.pyi` tells type checkers of both.
"""

__version__ = "1.3.0"

_MODULES = {"connect": "maestro.library.client", "errors": "maestro.model.errors"}
"""What programs import from here, and where it is. It is imported when it is asked for: commands do without."""


def __getattr__(name: str) -> object:
    """What is imported when it is asked for first. Raises AttributeError."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_MODULES[name])
    found = module if name == "errors" else getattr(module, name)
    globals()[name] = found
    return found
