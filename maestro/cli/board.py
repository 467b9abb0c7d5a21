"""`maestro board`: a page that shows the namespace at any position of its log."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from maestro import config
from maestro.cli import printer
from maestro.cli.options import FormatOption, examples

app = typer.Typer()
PORT = 7777
NO_BROWSER = "no browser was found here: open the address yourself"


@app.command("board", epilog=examples("maestro board --open", "maestro board --port 0 --allow-actions"))
def board(
    port: Annotated[int, typer.Option("--port", help="The port on 127.0.0.1; 0 for a free one.")] = PORT,
    allow_actions: Annotated[
        bool,
        typer.Option("--allow-actions", help="The page may approve, answer, retry, cancel, restore and fork."),
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    format: FormatOption = None,
) -> None:
    """Serve a page on this host that shows agents, queue, workflows, state and files at any position of the log.

    The address that is printed lets one browser in. The board reads the store by itself: it starts no daemon.
    """
    import trio

    from maestro.board.entrance import Entrance
    from maestro.board.opening import open_page
    from maestro.board.server import listen, serve
    from maestro.runtime.node.daemon_log import start_logging

    settings = config.load()
    listener = listen(port)
    start_logging(settings.log_level)
    for each in (signal.SIGINT, signal.SIGTERM):  # all that was asked for is the daemon's, so there is nothing to end
        signal.signal(each, signal.SIG_DFL)

    def begun(entrance: Entrance) -> None:
        if printer.wants_json(format):
            printer.write_json({"url": entrance.url, "port": entrance.port, "actions": allow_actions})
        else:
            printer.write_line(f"the board is at {entrance.url}")
            printer.flush()
        if open_:
            open_page(settings.home, entrance, lambda: printer.tell(NO_BROWSER))

    trio.run(serve, settings, listener, allow_actions, begun)
