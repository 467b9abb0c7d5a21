"""The command line as a whole: which commands there are, what an error looks like, what the exit code is.

A group's module is imported when it is used, and of a group only the command that runs is built: a command line pays
for itself alone. Help, usage and completion are typer's; without its rich formatting, which costs more than a command.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import click
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.utils import get_params_from_function

from maestro import __version__
from maestro.cli import printer
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.failures import user_error

GROUPS = {
    "agent": "maestro.cli.agent",
    "task": "maestro.cli.task",
    "state": "maestro.cli.state",
    "workflow": "maestro.cli.workflow",
    "queue": "maestro.cli.queue",
    "monitor": "maestro.cli.monitor",
    "schedule": "maestro.cli.schedule",
    "audit": "maestro.cli.audit",
    "events": "maestro.cli.events",
    "replay": "maestro.cli.replay",
    "fork": "maestro.cli.fork",
    "workspace": "maestro.cli.workspace",
    "node": "maestro.cli.node",
    "up": "maestro.cli.daemon",
    "worker": "maestro.cli.daemon",
    "shutdown": "maestro.cli.daemon",
    "doctor": "maestro.cli.doctor",
    "config": "maestro.cli.config",
    "redis": "maestro.cli.flush",
    "demo": "maestro.cli.demo",
    "board": "maestro.cli.board",
    "mcp": "maestro.cli.mcp",
    "completion": "maestro.cli.shells",
    "help": "maestro.cli.help",
}
"""Command or group -> the module whose `app` has it. A module named twice holds commands of the top level."""
ALIASES = {"ls": ("list", "status", "show")}
"""Hidden name -> the command of a group that it stands for: the first of these that the group has."""
ROOT_ALIASES = {"ps": ("queue", "status")}
"""Hidden name -> group and command that it stands for."""

CONTEXT = {"help_option_names": ["-h", "--help"]}
NO_OPTION = re.compile(r"-[^=]*\s")
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
"""What a shell reports for a command whose reader has gone (128 + SIGPIPE)."""


class Command(TyperCommand):
    """One command. A word like `- [ ] x` or `-- note` is a value, as no option has a space in its name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, which would take such a word for an option: NUL, which no argument holds, hides its dash."""
        try:
            rest = super().parse_args(ctx, [f"\0{word}" if NO_OPTION.match(word) else word for word in args])
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # the parser knows no command, and so the line would not say where to look
            raise
        ctx.params = {name: _unhidden(value) for name, value in ctx.params.items()}
        return rest

    def get_help(self, ctx: click.Context) -> str:
        """As typer, with the help of arguments, which newer versions of click drop, and without rich's escapes."""
        called = inspect.unwrap(self.callback) if self.callback else _root
        helps = {name: meta.default for name, meta in get_params_from_function(called).items()}
        for param in self.params:
            if isinstance(param, click.Argument):
                param.help = getattr(helps[str(param.name)], "help", None)
        return super().get_help(ctx).replace("\\[", "[")

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """As click, but printed as all else is."""
        return _printed(super().get_help_option(ctx))

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Nothing: typer writes the arguments, newer versions of click would write them again."""


def _printed(option: click.Option | None) -> click.Option | None:
    """The option --help, with its text on the way of all answers: there a full disk is told for what it is."""
    if option is not None:
        option.callback = _show_help
    return option


def _show_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001 - as click has it
    if value and not ctx.resilient_parsing:
        _write_help(ctx.get_help())
        ctx.exit()


def _write_help(text: str) -> None:
    printer.write(f"{text}\n".encode("utf-8", "backslashreplace"))


def _unhidden(value: Any) -> Any:
    if isinstance(value, str):
        return value.removeprefix("\0")
    return [_unhidden(item) for item in value] if isinstance(value, (list, tuple)) else value


class Commands(TyperGroup):
    """The commands of one typer app, each built when it is asked for."""

    def __init__(self, app: typer.Typer, name: str) -> None:
        super().__init__(name=name, help=app.info.help, no_args_is_help=True, rich_markup_mode=None)
        self.context_settings = CONTEXT
        self.infos = {str(info.name): info for info in app.registered_commands}

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """As that of a command."""
        return _printed(super().get_help_option(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """In the order in which the module has them."""
        return list(self.infos)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Build one."""
        info = self._info(cmd_name)
        return None if info is None else _build(info)

    def _info(self, name: str) -> typer.models.CommandInfo | None:
        names = (name, *ALIASES.get(name, ()))
        return next((self.infos[each] for each in names if each in self.infos), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, but an unknown name is told with those that are like it."""
        if self._info(args[0]) is None:
            _unknown(ctx, args[0], self.infos)
        return super().resolve_command(ctx, args)


class Root(TyperGroup):
    """`maestro` itself."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """As that of a command."""
        return _printed(super().get_help_option(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """In the order of `GROUPS`."""
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command, or of a group, and build it."""
        if cmd_name in ROOT_ALIASES:
            group, name = ROOT_ALIASES[cmd_name]
            return Commands(importlib.import_module(GROUPS[group]).app, group).get_command(ctx, name)
        module = GROUPS.get(cmd_name)
        if module is None:
            return None
        app: typer.Typer = importlib.import_module(module).app
        single = next((info for info in app.registered_commands if info.name == cmd_name), None)
        return _build(single) if single and not app.info.name else Commands(app, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, but an unknown name is told with those that are like it, and with the groups that have it."""
        if args[0] not in GROUPS and args[0] not in ROOT_ALIASES:
            groups = {name: importlib.import_module(module).app for name, module in GROUPS.items()}
            inside = [
                f"{name} {args[0]}"
                for name, app in groups.items()
                if app.info.name and args[0] in {info.name for info in app.registered_commands}
            ]
            _unknown(ctx, args[0], GROUPS, inside)
        return super().resolve_command(ctx, args)


def _unknown(ctx: click.Context, name: str, known: Iterable[str], inside: Sequence[str] = ()) -> None:
    from maestro.cli.usage_errors import check_name  # imported where something went wrong only

    check_name(ctx, name, known, inside)


def _build(info: typer.models.CommandInfo) -> click.Command:
    info.context_settings = CONTEXT
    info.cls = Command
    return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        printer.write_line(__version__)
        raise typer.Exit


def _root(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    may_use = ("state", "mcp", "task") if os.environ.get("MAESTRO_DELEGATE") else ("state", "mcp")
    if os.environ.get("MAESTRO_RUN_SOCKET") and ctx.invoked_subcommand not in may_use:
        raise Refused("a process inside a run may use `maestro state` only", mend="run this outside of the agent")


def _command() -> click.Command:
    app = typer.Typer(
        cls=Root,
        name="maestro",
        callback=_root,
        help="Coordinate AI agents over isolated workspaces. Every change is an event: audit, replay, restore.",
        epilog="Start with `maestro demo`. `maestro help` lists the documents, `maestro COMMAND --help` tells of one.",
        context_settings=CONTEXT,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,  # `maestro completion` does it
    )
    return typer.main.get_command(app)


def run(argv: list[str]) -> int:
    """Carry out one command line; its exit code. Prints all that goes wrong as one line on stderr."""
    try:
        code = _invoke(argv)
        printer.flush()
        return code
    except BrokenPipeError:
        printer.forget()
        return EXIT_PIPE
    except MaestroError as error:  # the last of the answer could not be written
        return printer.fail(error.line(), error.exit_code)


def parsed(argv: list[str]) -> Any:
    """Parse a command line and call its function; what that returns. Raises what click raises, and MaestroError."""
    command = _command()
    with command.make_context("maestro", argv) as context:
        return command.invoke(context)


def _invoke(argv: list[str]) -> int:
    try:
        if any("\udc80" <= char <= "\udcff" for word in argv for char in word):
            raise click.UsageError("an argument is not valid UTF-8")
        if "_MAESTRO_COMPLETE" in os.environ:
            importlib.import_module("maestro.cli.shells").prepare()
            _command().main(argv, prog_name="maestro")
        result = parsed(argv)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        _write_help(error.format_message())
        return 0
    except click.ClickException as error:
        return printer.fail(_usage(error), error.exit_code)
    except MaestroError as error:
        if os.environ.get("MAESTRO_LOG_LEVEL", "").upper() == "DEBUG":
            traceback.print_exc()
        return printer.fail(error.line(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return printer.fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a defect is told in one line too
        return _fail_unforeseen(error)


def _fail_unforeseen(error: Exception) -> int:
    """What the surroundings do not allow, as a full disk; or a defect."""
    if os.environ.get("MAESTRO_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exc()
    known = user_error(error)
    if known is not None:
        return printer.fail(known.line(), known.exit_code)
    return printer.fail(f"defect in maestro: {error!r}; MAESTRO_LOG_LEVEL=DEBUG shows where", 1)


def _usage(error: click.ClickException) -> str:
    from maestro.cli.usage_errors import usage_line  # as above

    return usage_line(error)
