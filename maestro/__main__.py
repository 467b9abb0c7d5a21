"""The console script `maestro`, and `python -m maestro`.

A command lives for a moment: no garbage is collected while its modules load, and its memory is left to the system.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

IMPORTS_OBJECTS_MAX = 100_000


def main() -> int:
    """Carry out the command line of this process, and end the process with its exit code."""
    gc.set_threshold(IMPORTS_OBJECTS_MAX)
    _import_msgspec()
    try:
        from maestro.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.flush()
    os._exit(code)


def _import_msgspec() -> None:
    """Import msgspec, which every command needs, without typing_extensions.

    It would import that for what `typing` itself has from Python 3.11 on: a seventh of a command's instructions.
    """
    name = "typing_extensions"
    if name not in sys.modules:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to have an import fail
        with suppress(ImportError):  # a version that needs it is imported with it, where it is first used
            import msgspec  # noqa: F401
        del sys.modules[name]


if __name__ == "__main__":
    main()
