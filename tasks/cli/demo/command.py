"""`darkroom demo`: the whole pipeline on this machine, with sandbox providers, in its own folder."""

import json
import os
import secrets
import shlex
import shutil
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path

import click

from tasks.cli.demo.ending import EVENT, Decision, Receiver, write_recipe
from tasks.cli.demo.outage import CREDIT, KEY, Outage, give_credit
from tasks.cli.demo.process_log import ProcessLog
from tasks.cli.demo.requests import BATCH, request
from tasks.cli.demo.result import Result, print_table
from tasks.cli.ui.context import DEMO, data_folder, use_environment, without_services
from tasks.cli.ui.output import json_option, note, print_json
from tasks.cli.ui.progress import follow
from tasks.cli.ui.wakeup import ring
from tasks.usecases.providers import key_settings
from tasks.usecases.queries import ListRequest, list_generations
from tasks.usecases.scope import DecidedScope, Scope
from tasks.usecases.submit import check, submit
from worker.embedded import (
    BUCKET,
    LOOPBACK,
    Child,
    Embedded,
    StopSignals,
    embedded,
    folder_errors,
    free_port,
    http_answers,
    procfile_commands,
    write_private,
)
from worker.errors import DarkroomError
from worker.secrets import make_private_folder
from worker.services import Services
from worker.settings import load_settings, provider_prefixes, url_of, use_env_file
from worker.steps import Step

#: with --exit: enough for three rounds of the provider's delay on a slow machine; the demo must end sometime
_PATIENCE_SECONDS = 90
_ROUNDS = 10


@click.command()
@click.option(
    "--exit", "leave", is_flag=True, help="Exit when everything is done, with code 0 if everything was archived."
)
@click.option(
    "--delay",
    type=click.FloatRange(0, 600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the sandbox providers take to produce a result.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show the logs of all processes.")
@json_option
@click.pass_context
def demo(ctx: click.Context, leave: bool, delay: float, verbose: bool, as_json: bool) -> None:
    """Try Darkroom on this machine, without an API key.

    Starts everything in a new folder with sandbox providers, whose charges are not real, and submits twelve generations
    to them, some with follow-ups, one with a recipe: its grid is split, and the demo approves an image to upscale. One
    provider's account runs out of credit midway, so another takes over. At the end, a receiver gets an event. Ctrl-C
    stops the demo; with --exit, it stops when everything is done.
    """
    use_env_file()
    given = dict(os.environ)
    data = _new_folder(data_folder(given))
    sandbox = free_port()
    port, api_port = (given.get(name) or str(free_port()) for name in ("PORT", "API_PORT"))
    sandbox_url, receiver = f"http://{LOOPBACK}:{sandbox}", Receiver()
    own = {
        **{f"{prefix}_BASE_URL": sandbox_url for prefix in provider_prefixes()},
        **dict.fromkeys(key_settings(), "any"),
        "KIE_API_KEY": KEY,
        "KIE_WEBHOOK_HMAC_KEY": secrets.token_hex(32),
        "DARKROOM_DOWNLOAD_ALLOW": LOOPBACK,
        "PUBLIC_URL": f"http://{LOOPBACK}:{port}",
        "DARKROOM_RECIPES": str(data / "recipes"),
        "DARKROOM_NOTIFY_URLS": receiver.url,
        "DARKROOM_NOTIFY_SECRET": receiver.secret,
        "DARKROOM_NOTIFY_EVENTS": EVENT,
    }
    write_recipe(data / "recipes")
    write_private(data / DEMO, json.dumps(own, indent=1))
    env = {
        **_without_services(given),
        **own,
        "DARKROOM_DATA": str(data),
        "HOST": LOOPBACK,
        "PORT": port,
        "API_HOST": LOOPBACK,
        "API_PORT": api_port,
    }
    with (
        StopSignals() as signals,
        receiver,
        ProcessLog(data / "processes.log", aloud=verbose) as log,
        embedded(data, env, say=note, on_output=log.write, interrupted=signals.received) as running,
    ):
        _start(running, sandbox, delay)
        console = url_of(LOOPBACK, api_port)
        note(f"Console: {console} (HTTP API: {console}/v1)")
        limit = _PATIENCE_SECONDS + _ROUNDS * delay if leave else None
        result = _run(sandbox_url, signals, log, limit, receiver)
        if as_json:
            print_json(result.as_json())
        else:
            print_table(result)
            _tell_where(data, result, given)
        if not result.all_archived:
            note(f"the last lines of {log.path}:\n{log.last_lines()}")
        if not leave:
            note(f"Everything keeps running, with the sandbox providers ({sandbox_url}). Stop it with Ctrl-C")
            note(f"Console: {console}")
            signals.wait()
            note("stopping")
    ctx.exit(0 if result.all_archived else 1)


def _new_folder(parent: Path) -> Path:
    """Make a new folder for each run, so that no run touches the results of an earlier one."""
    with folder_errors(parent):
        make_private_folder(parent)
        while True:
            folder = parent / f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                time.sleep(0.2)
            else:
                return folder


def _without_services(given: Mapping[str, str]) -> dict[str, str]:
    env = without_services(given)
    if ignored := sorted(name for name in given.keys() - env.keys() if given[name]):
        note(f"the demo brings everything it needs and ignores {', '.join(ignored)}")
    return env


def _start(running: Embedded, port: int, delay: float) -> None:
    command = (
        *(sys.executable, "-m", "webhook.sandbox", "--port", str(port), "--delay", str(delay)),
        *("--quiet", "--hmac-key", running.env["KIE_WEBHOOK_HMAC_KEY"]),
    )
    answers = partial(http_answers, LOOPBACK, port, "/livez")
    # Otherwise glibc keeps a heap for each thread that ever drew an image, about 200 MB in all.
    env = {**running.env, "MALLOC_ARENA_MAX": "1"}
    running.supervisor.start(Child(name="sandbox", argv=command, env=env, ready=answers))
    running.start_procfile(procfile_commands())
    use_environment(running.env)


def _run(sandbox: str, signals: StopSignals, log: ProcessLog, limit: float | None, receiver: Receiver) -> Result:
    with closing(Services(load_settings())) as here:
        give_credit(sandbox, {KEY: CREDIT})
        made = submit(here, check(here, request())).generations
        note(f"{len(made)} generations submitted to {len({one.provider for one in made})} providers")
        ring(Step.DISPATCH)
        with Outage(here, sandbox), Decision(here) as decision:
            scope = DecidedScope(here, BATCH, decision.is_made.is_set)
            _follow(scope, signals, log, limit)
        receiver.wait()
        everything = ListRequest(batch=BATCH, limit=sum(scope.counts().values()), with_results=True)
        found = sorted(list_generations(here, everything), key=lambda one: one.generation.id)
    assets = {one.generation.id: tuple(one.assets) for one in found}
    return Result(tuple(one.generation for one in found), assets, _charges(sandbox), receiver.events)


def _follow(scope: Scope, signals: StopSignals, log: ProcessLog, limit: float | None) -> None:
    started = time.monotonic()

    def is_over() -> bool:
        return signals.received() or (limit is not None and time.monotonic() - started > limit)

    try:
        follow(scope, interrupted=is_over)
    except KeyboardInterrupt:
        if signals.received():
            raise
        raise DarkroomError(
            f"not everything finished within {limit:g} s; the last lines of {log.path}:\n{log.last_lines()}"
        ) from None


def _charges(sandbox: str) -> Mapping[str, int]:
    # We started this sandbox ourselves.
    with urllib.request.urlopen(f"{sandbox}/sandbox/bill", timeout=5) as answer:  # noqa: S310
        lines = json.load(answer)["lines"]
    return Counter(line["provider"] for line in lines if not line["refunded"])


def _tell_where(data: Path, result: Result, given: Mapping[str, str]) -> None:
    folder = shlex.quote(str(data))
    # After `make demo`, the command is on the PATH of this process but not on the terminal's.
    command = "darkroom" if shutil.which("darkroom", path=given.get("PATH", "")) else shlex.quote(sys.argv[0])
    lines = [
        f"{result.archived} of {len(result.generations)} archived in {data / 's3' / BUCKET}",
        f"Charged by the sandbox providers: {sum(result.charges.values())}",
        *result.moves_told(),
        *result.recipe_told(),
        f"Show one of them: DARKROOM_DATA={folder} {command} show {result.generations[0].id}",
    ]
    note("\n".join(lines))
