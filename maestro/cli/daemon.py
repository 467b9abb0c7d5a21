"""`maestro up`, `worker` and `shutdown`: run this node's daemon in the background or foreground, and stop it."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro import config
from maestro.cli import answer
from maestro.cli.options import DURATION_HELP, FormatOption, duration, examples
from maestro.runtime.protocol import messages as p

app = typer.Typer()


@app.command("up", epilog=examples("maestro up"))
def up(format: FormatOption = None) -> int:
    """Run this node's daemon in the background; queued tasks that a shutdown held go on."""
    return answer.one(p.Up(), format)


@app.command("worker", epilog=examples("exec maestro worker   # in a container, or a systemd unit"))
def worker() -> int:
    """Run this node's daemon in the foreground, until SIGTERM or `maestro shutdown`.

    SIGTERM stops its runs after their grace; they count as nothing, and run again at the next start. `shutdown`
    cancels them. `maestro help operations` has a unit for systemd.
    """
    settings = config.load()
    config.open_home(settings)
    from maestro.runtime.daemon import daemon

    return daemon.main(settings)


@app.command("shutdown", epilog=examples("maestro shutdown --grace-period 10", "maestro shutdown --keep"))
def shutdown(
    grace_period: Annotated[
        float,
        typer.Option(
            "--grace-period",
            parser=duration("--grace-period"),
            metavar="DURATION",
            help=f"Between SIGTERM and SIGKILL: {DURATION_HELP}.",
        ),
    ] = "10s",  # type: ignore[assignment]  # parsed as what a user gives
    keep: Annotated[bool, typer.Option("--keep", help="Delete no old run folders.")] = False,
    format: FormatOption = None,
) -> int:
    """Stop all agents of this node, hold what is queued, clean up, stop the daemon and the embedded store."""
    return answer.one(p.Shutdown(grace_period, keep), format)
