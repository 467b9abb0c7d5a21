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
    try:
        from maestro.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
