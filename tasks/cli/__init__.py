"""The `darkroom` command: one file per command, imported when it is called, so that `--help` answers at once."""

import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from worker.errors import DarkroomError

#: name → where it lives, and what it does in a few words (those that its own help begins with)
COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("tasks.cli.demo.command:demo", "Try Darkroom on this machine, without an API key"),
    "up": ("tasks.cli.up:up", "Run everything on this machine with real providers"),
    "init": ("tasks.cli.init:init", "Create a first .env: provider key, bucket, public URL"),
    "submit": ("tasks.cli.submit:submit", "Submit generations: one prompt, several, or a file"),
    "providers": ("tasks.cli.providers:providers", "Show what each provider supports"),
    "list": ("tasks.cli.list:list_generations", "List generations, newest first"),
    "show": ("tasks.cli.show:show", "Show a generation and its history"),
    "watch": ("tasks.cli.watch:watch", "Follow generations until all are done"),
    "at-risk": ("tasks.cli.at_risk:at_risk", "List results that may be lost"),
    "verify": ("tasks.cli.verify:verify", "Re-read stored results and compare them with the ledger"),
    "spend": ("tasks.cli.spend:spend", "Show spending and remaining budgets"),
    "retry": ("tasks.cli.decide:retry", "Retry failed and expired generations"),
    "unconfirmed": ("tasks.cli.unconfirmed:unconfirmed", "List submissions with an unknown outcome"),
    "resolve": ("tasks.cli.resolve:resolve", "Record what happened to unconfirmed generations"),
    "cancel": ("tasks.cli.decide:cancel", "Cancel generations that are not submitted yet"),
    "resume": ("tasks.cli.decide:resume", "Resume a paused provider"),
    "dead": ("tasks.cli.dead:dead", "List what was abandoned, and why"),
    "accept": ("tasks.cli.accept:accept", "Archive refused files unchanged, after a review"),
    "rescue": ("tasks.cli.rescue:rescue", "Import tasks that exist only at the provider"),
    "reconcile": ("tasks.cli.reconcile:reconcile", "Compare the ledger with the bucket and the providers' lists"),
    "delete": ("tasks.cli.delete:delete", "Delete generations, for example at a client's request"),
    "prune": ("tasks.cli.prune:prune", "Delete rows past their retention"),
    "db": ("tasks.cli.db:db", "Manage the ledger's tables"),
    # By its name alone: no module of tasks imports one of webhook, and the sandbox imports nothing of ours.
    "sandbox": ("webhook.sandbox.command:sandbox", "Serve sandbox providers, to test any webhook receiver"),
    "doctor": ("tasks.cli.doctor:doctor", "Check everything Darkroom needs, and say how to fix it"),
}


class LateGroup(click.Group):
    """Imports a command when it is called, and is the one place where an error becomes a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        # `list` is the command's module here, once that is imported.
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        # What an import makes stays; looking for garbage in it takes a sixth of the start of `darkroom list`.
        gc.disable()
        try:
            command: click.Command = getattr(import_module(module), attribute)
        finally:
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # The list in click would import every command to ask for its help.
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DarkroomError as error:
            _say(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            # As a shell reports a program that SIGINT ended.
            ctx.exit(130)


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Submit Midjourney generations and keep every result in your own bucket.

    Commands accept --json. Results go to standard output, everything else to standard error. Exit codes: 0 done,
    1 failure, 2 usage error.
    """


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A prompt may hold what this terminal cannot show; that is no reason to stop.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="darkroom")


def _say(error: DarkroomError) -> None:
    from tasks.cli.ui.output import lines_only  # noqa: PLC0415 - only an error needs it
    from worker.secrets import redact  # noqa: PLC0415

    plain = bool(os.environ.get("NO_COLOR"))
    click.secho(f"darkroom: {lines_only(redact(str(error)))}", fg=None if plain else "red", err=True)
