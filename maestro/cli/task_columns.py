"""The columns of the tables of tasks and runs."""

from __future__ import annotations

from maestro.cli import printer
from maestro.cli.column import Column

TASKS = (
    Column("id", "TASK"),
    Column("status", "STATUS"),
    Column("outcome", "OUTCOME", leaves=2),
    Column("targets", "TO", cuts="end", leaves=3),
    Column("dispatched_at", "DISPATCHED", printer.moment, leaves=1),
    Column("title", "PROMPT", cuts="end"),
)
RUNS = (
    Column("id", "RUN"),
    Column("agent", "AGENT"),
    Column("status", "STATUS"),
    Column("outcome", "OUTCOME"),
    Column("exit_code", "EXIT", leaves=6),
    Column("node", "NODE", leaves=1),
    Column("duration_s", "SECONDS", leaves=4),
    Column("usage", "TOKENS", printer.tokens, leaves=3),
    Column("usage", "COST", printer.cost, leaves=2),
    Column("log", "LOGS", below=True),
)
