"""Groups whose commands are imported when they are called, so that `--help` is fast."""

import gc
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from worker.errors import DarkroomError

#: name → where a command is defined, and what it does in a few words (its own help begins with the same ones)
Commands = Mapping[str, tuple[str, str]]


class LateGroup(click.Group):
    """Imports a command when it is called, and is the only place that turns errors into messages and exit codes."""

    def __init__(self, *args: Any, table: Commands, **options: Any) -> None:
        super().__init__(*args, **options)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        # Not `list(…)`: once imported, `list` is the command's module here.
        return [*self._table]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._table:
            return None
        module, _, attribute = self._table[cmd_name][0].partition(":")
        # Imports create little garbage, and collecting it takes a sixth of the start of `darkroom list`.
        gc.disable()
        try:
            command: click.Command = getattr(import_module(module), attribute)
        finally:
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # click's own list would import every command for its help text.
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self._table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DarkroomError as error:
            _say(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            # The exit code that shells report for SIGINT.
            ctx.exit(130)


def _say(error: DarkroomError) -> None:
    from tasks.cli.ui.output import lines_only  # noqa: PLC0415 - needed only for errors
    from worker.secrets import redact  # noqa: PLC0415

    plain = bool(os.environ.get("NO_COLOR"))
    click.secho(f"darkroom: {lines_only(redact(str(error)))}", fg=None if plain else "red", err=True)
