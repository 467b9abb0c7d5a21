"""Opens the board in the browser of this user, by a file that leads there.

The address is no argument of the browser: every user of this host can read those, and it lets in whoever is first.
"""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from maestro import durable
from maestro.board.entrance import Entrance

FILE = "board.html"
PAGE = (
    '<!doctype html><meta http-equiv="refresh" content="0; url={0}"><title>Maestro</title><a href="{0}">Maestro</a>\n'
)


def open_page(home: Path, entrance: Entrance, failed: Callable[[], None]) -> None:
    """Have the browser go to the entrance. failed: called where there is no browser. Raises OSError for a bad disk."""
    page = home / FILE
    durable.replace(page, PAGE.format(entrance.url).encode(), durable=False)
    entrance.when_entered = lambda: page.unlink(missing_ok=True)

    def begin() -> None:  # in a thread, as a browser of a terminal runs until it is quit
        if not webbrowser.open(page.as_uri()):
            page.unlink(missing_ok=True)
            failed()

    threading.Thread(target=begin, daemon=True).start()
