"""`darkroom up`: everything on this machine, with real providers."""

import os
import secrets
from collections.abc import Mapping
from contextlib import closing

import click

from tasks.cli.ui.context import data_folder, use_environment
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases.doctor import check_before_start
from worker.embedded import BUCKET, Embedded, StopSignals, embedded, print_json_line, print_line, procfile_commands
from worker.services import Services
from worker.settings import Settings, load_settings, misspelt_settings, use_env_file

_SERVERS = {"REDIS_URL": "broker", "S3_BUCKET": "S3 server"}


@click.command()
@json_option
def up(as_json: bool) -> None:
    """Run everything on this machine, with real providers.

    The receiver, the worker and the clock; a broker and an S3 server too, unless REDIS_URL or S3_BUCKET name some.
    Stops with Ctrl-C or SIGTERM. Everything that has to be kept lies in DARKROOM_DATA.
    """
    use_env_file()
    given = dict(os.environ)
    data = data_folder(given)
    log_format = _check_before_start()
    for sentence in misspelt_settings(given):
        note(f"warning: {sentence}")
    on_output = print_json_line if log_format == "json" else print_line
    with (
        StopSignals() as signals,
        embedded(data, given, say=note, on_output=on_output, interrupted=signals.received) as running,
    ):
        running.start_procfile(procfile_commands())
        use_environment(running.env)
        _tell(running, load_settings(), given, as_json=as_json)
        signals.wait()
        note("stopping")


def _check_before_start() -> str:
    """Raise DarkroomError for what would only fail when the first generation is submitted or archived.

    How log lines are written.
    """
    if not os.environ.get("DARKROOM_SIGNING_KEYS") and not os.environ.get("DARKROOM_SIGNING_KEYS_FILE"):
        # The folder brings its own, but only when it is used; until then any will do to read the settings.
        os.environ["DARKROOM_SIGNING_KEYS"] = f"k1:{secrets.token_urlsafe(32)}"
    with closing(Services(load_settings())) as here:
        check_before_start(here, has_broker=bool(os.environ.get("REDIS_URL") or os.environ.get("REDIS_URL_FILE")))
        return here.settings.log_format


def _tell(running: Embedded, settings: Settings, given: Mapping[str, str], *, as_json: bool) -> None:
    env = running.env
    host = f"[{env['HOST']}]" if ":" in env["HOST"] else env["HOST"]
    brought = [name for name in ("REDIS_URL", "S3_BUCKET") if env.get(name) and not given.get(name)]
    pictures = str(settings.darkroom_data / "s3" / BUCKET) if "S3_BUCKET" in brought else f"s3://{settings.s3_bucket}"
    receiver, parts = f"http://{host}:{env['PORT']}", [_SERVERS[name] for name in brought]
    facts = {
        "receiver": receiver,
        "public_url": settings.public_url,
        "pictures": pictures,
        "data": str(settings.darkroom_data),
        "embedded": parts,
    }
    if as_json:
        print_json(facts)
    else:
        click.echo(f"Darkroom is running. The receiver listens on {receiver}, the pictures lie in {pictures}")
        click.echo(f"Embedded: {', '.join(parts) or 'nothing'}. Stop it with Ctrl-C")
    if settings.public_url is None:
        note("PUBLIC_URL is not set, so providers cannot call back: they are asked for results instead, a little later")
