"""The console script `maestro`, and `python -m maestro`."""

from __future__ import annotations

import sys


def main() -> int:
    """Carry out the command line of this process; its exit code (SPEC.md 2)."""
    try:
        from maestro.cli.app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
