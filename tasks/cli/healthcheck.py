"""`darkroom healthcheck`: check that a process on this machine is healthy."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import click

from tasks.cli.ui.output import json_option, print_json
from tasks.usecases.healthcheck import Health, Process, check_heartbeat, check_listener, listens, process_of
from worker.errors import LedgerUnavailable
from worker.secrets import redact

#: the program that the container was started with, possibly under an init process
_FIRST = Path("/proc/1/cmdline")


@click.command()
@click.argument("process", type=click.Choice([one.value for one in Process]), required=False)
@json_option
@click.pass_context
def healthcheck(ctx: click.Context, process: str | None, as_json: bool) -> None:
    """Check that a process on this machine is healthy, for containers.

    For the receiver and the API, it requests their own /livez; for the worker and the clock, it reads this host's
    latest heartbeat. Without an argument, it detects what this container runs. The exit code is 1 if the process is
    unhealthy.
    """
    health = _ask(Process(process) if process else _of_this_container())
    if as_json:
        # Imported only where needed, here and below: containers run this every few seconds.
        from tasks.usecases import views  # noqa: PLC0415

        print_json(views.of_health(health))
    else:
        click.echo(health.detail)
    ctx.exit(0 if health.is_well else 1)


def _of_this_container() -> Process:
    command = _FIRST.read_bytes().replace(b"\0", b" ").decode(errors="replace") if _FIRST.is_file() else ""
    found = process_of(command)
    if found is None:
        names = ", ".join(Process)
        raise click.UsageError(f"this is not a container with one Darkroom process: name the process, one of {names}")
    return found


def _ask(process: Process) -> Health:
    if listens(process):
        return check_listener(process, _environment())
    from tasks.cli.ui.context import open_ledger  # noqa: PLC0415

    try:
        with open_ledger() as here:
            return check_heartbeat(process, here, socket.gethostname())
    except LedgerUnavailable as error:
        return Health(process, is_well=False, detail=f"unknown: {redact(str(error))}")


def _environment() -> Mapping[str, str]:
    """Return the environment, plus what `.env` and a running `darkroom up` add to it."""
    data = Path(os.environ.get("DARKROOM_DATA") or "darkroom-data")
    if Path(".env").is_file() or (data / "running.json").is_file():
        from tasks.cli.ui.context import read_settings  # noqa: PLC0415

        read_settings()
    return os.environ
