"""`darkroom up`: everything on this machine, with real providers."""

import os
import secrets
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime

import click

from tasks.cli.ui.context import data_folder, use_environment
from tasks.cli.ui.late_sandbox import LateSandbox
from tasks.cli.ui.output import json_option, note, print_json
from tasks.usecases.doctor import check_before_start
from tasks.usecases.one_machine import count_states, workers_of_host
from tasks.waiting import CLOCK
from worker.embedded import (
    BUCKET,
    LOOPBACK,
    Embedded,
    StopSignals,
    embedded,
    free_port,
    print_json_line,
    print_line,
    procfile_commands,
    without_noise,
)
from worker.generation import State
from worker.services import Services
from worker.settings import Settings, load_settings, misspelt_settings, url_of, use_env_file

#: seconds within which a worker is expected to send its first heartbeat
_START_SECONDS = 15
_TELL_SECONDS = 60
#: states that are reported every minute, in this order
_TOLD = (State.ARCHIVED, State.FAILED, State.EXPIRED, State.UNCONFIRMED)
_SERVERS = {"REDIS_URL": "broker", "S3_BUCKET": "S3 server"}


@click.command()
@json_option
def up(as_json: bool) -> None:
    """Run everything on this machine with real providers.

    Starts the receiver, the console with the HTTP API, a worker and the clock, and an embedded broker and S3 server
    unless REDIS_URL and S3_BUCKET are set. Ctrl-C or SIGTERM stops them. All data is in DARKROOM_DATA.
    """
    use_env_file()
    given = dict(os.environ)
    data = data_folder(given)
    log_format = _check_before_start()
    for sentence in misspelt_settings(given):
        note(f"warning: {sentence}")
    on_output = without_noise(print_json_line if log_format == "json" else print_line)
    port, others = _sandbox_of(given)
    with (
        StopSignals() as signals,
        embedded(data, given, say=note, on_output=on_output, interrupted=signals.received, others=others) as running,
    ):
        use_environment(running.env)
        settings = load_settings()
        known = workers_of_host(settings)
        running.start_procfile(procfile_commands())
        _wait_for_workers(settings, known, signals)
        _tell(running, settings, given, as_json=as_json)
        with closing(LateSandbox(running, settings, port, signals)) as sandbox:
            _tell_changes(settings, sandbox)
        note("stopping")


def _sandbox_of(given: Mapping[str, str]) -> tuple[int | None, Mapping[str, str]]:
    """Return the sandbox's port and the variables that point to it; none if the environment names a sandbox."""
    if given.get("DARKROOM_SANDBOX_URL"):
        return None, {}
    port = free_port()
    return port, {"DARKROOM_SANDBOX_URL": f"http://{LOOPBACK}:{port}"}


def _wait_for_workers(settings: Settings, known: Mapping[str, str], signals: StopSignals) -> None:
    """Wait for the first heartbeats of the new worker and the new clock."""
    deadline = time.monotonic() + _START_SECONDS
    while not signals.received() and time.monotonic() < deadline:
        roles = {role for name, role in workers_of_host(settings).items() if name not in known}
        if roles >= {"worker", CLOCK}:
            return
        signals.wait(0.2)


def _tell_changes(settings: Settings, signals: StopSignals | LateSandbox) -> None:
    """Once a minute until a signal arrives, print what was archived or failed, if anything."""
    before = count_states(settings)
    while not signals.wait(_TELL_SECONDS):
        if (now := count_states(settings)) is None:
            continue
        changes = [(state, now.get(state, 0) - (before or now).get(state, 0)) for state in _TOLD]
        if told := ", ".join(f"{number:,} {state}" for state, number in changes if number > 0):
            note(f"{datetime.now().astimezone():%H:%M}  {told}")
        before = now


def _check_before_start() -> str:
    """Return the log format.

    Raises DarkroomError for anything that would otherwise fail only at the first submission or upload.
    """
    if not os.environ.get("DARKROOM_SIGNING_KEYS") and not os.environ.get("DARKROOM_SIGNING_KEYS_FILE"):
        # The data folder has its own keys, but they are not read yet; to read the settings, any will do.
        os.environ["DARKROOM_SIGNING_KEYS"] = f"k1:{secrets.token_urlsafe(32)}"
    with closing(Services(load_settings())) as here:
        check_before_start(here, has_broker=bool(os.environ.get("REDIS_URL") or os.environ.get("REDIS_URL_FILE")))
        return here.settings.log_format


def _tell(running: Embedded, settings: Settings, given: Mapping[str, str], *, as_json: bool) -> None:
    env = running.env
    brought = [name for name in ("REDIS_URL", "S3_BUCKET") if env.get(name) and not given.get(name)]
    pictures = str(settings.darkroom_data / "s3" / BUCKET) if "S3_BUCKET" in brought else f"s3://{settings.s3_bucket}"
    receiver, api = url_of(env["HOST"], env["PORT"]), url_of(env["API_HOST"], env["API_PORT"])
    console = settings.console_url or api
    parts = [_SERVERS[name] for name in brought]
    facts = {
        "receiver": receiver,
        "api": api,
        "console": console,
        "public_url": settings.public_url,
        "pictures": pictures,
        "data": str(settings.darkroom_data),
        "embedded": parts,
    }
    if settings.public_url is None:
        note("PUBLIC_URL is not set, so providers cannot call back: results are polled, which takes a little longer")
    if as_json:
        print_json(facts)
    else:
        click.echo(f"Console: {console}")
        click.echo(f"HTTP API: {api}/v1 ({api}/v1/openapi.json describes it)")
        click.echo(f"Darkroom is running. Receiver: {receiver}, images: {pictures}")
        click.echo(f"Embedded: {', '.join(parts) or 'nothing'}. Stop it with Ctrl-C")
        click.echo(f"Console: {console}")
