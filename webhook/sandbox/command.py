"""The command that serves the sandbox: `darkroom sandbox`, and `python -m webhook.sandbox`."""

import errno
import json
import logging
import math
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import click

from webhook.sandbox import Sandbox, running
from webhook.sandbox.app import DIALECTS
from webhook.sandbox.faults import FaultsInvalid, check_faults
from webhook.sandbox.keys import TROUBLES, WORDS

F = TypeVar("F", bound=Callable[..., Any])
#: the first port to try, and how many to try
FIRST_PORT, PORTS = 9000, 100
#: the placeholder in the examples
RECEIVER = "http://127.0.0.1:8000/callback"

#: the sandbox's own pages, and what they are for
PAGES = {
    "page": ("/", "the images"),
    "bill": ("/sandbox/bill", "accepted submissions and their charges"),
    "log": ("/sandbox/log", "everything that happened, including callbacks"),
    "tasks": ("/sandbox/tasks", "the latest submissions"),
    "faults": ("/sandbox/faults", "random faults and their probabilities; POST to change them"),
}


class CannotServe(click.ClickException):
    def show(self, file: Any = None) -> None:
        click.echo(f"sandbox: {self.message}", file=file or sys.stderr)


def _finite(_ctx: click.Context, _parameter: click.Parameter, value: float) -> float:
    if math.isnan(value):
        raise click.BadParameter("nan is not a number")
    return value


def _seconds(name: str, *, default: float, most: float, about: str) -> Callable[[F], F]:
    kind = click.FloatRange(0, most)
    return click.option(
        name, type=kind, default=default, show_default=True, callback=_finite, metavar="SECONDS", help=about
    )


def _faults(_ctx: click.Context, _parameter: click.Parameter, text: str) -> dict[str, float]:
    try:
        return check_faults(json.loads(text))
    except json.JSONDecodeError as error:
        raise click.BadParameter(f'not JSON, like {{"drop": 0.1}}: {error}') from error
    except FaultsInvalid as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help=f"The port; 0 picks any free one.  [default: the first free port from {FIRST_PORT}]",
)
@_seconds("--delay", default=2.0, most=86_400, about="How long a generation takes.")
@click.option(
    "--size",
    type=click.IntRange(2, 4096),
    default=1024,
    show_default=True,
    metavar="PIXELS",
    help="The side length of images.",
)
@_seconds("--link-life", default=86_400.0, most=1e9, about="How long result links work.")
@click.option(
    "--faults",
    default="{}",
    callback=_faults,
    metavar="JSON",
    help='Random faults and their probabilities, like {"drop": 0.1, "duplicate": 0.5}.',
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for the random faults, to repeat a run.")
@click.option("--hmac-key", default="", metavar="KEY", help="Sign Kie.ai's callbacks with this key.")
@click.option("--quiet", is_flag=True, help="Print only the address.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def sandbox(host: str, port: int | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Serve sandbox providers, to test any webhook receiver.

    They accept submissions in their vendors' formats, draw images, send callbacks, and inject the faults you ask for.
    Nothing costs money, and only callbacks leave this machine. Submissions and callbacks are logged to standard error.
    Ctrl-C or SIGTERM stops the sandbox.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not quiet:
        _log_progress()
    if port is None:
        port = _free_port(host)
    with ExitStack() as stack:
        try:
            served = stack.enter_context(running(host=host, port=port, **options))
        except OSError as error:
            hint = "; omit --port to use the next free one" if error.errno == errno.EADDRINUSE else ""
            raise CannotServe(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
        _warn(served)
        if as_json:
            click.echo(json.dumps(facts(served)))
        else:
            click.echo(f"sandbox: serving on {served.url}" if quiet else _summary(served))
        stop.wait()


def facts(served: Sandbox) -> dict[str, Any]:
    """Return everything a client needs to use the sandbox."""
    return {
        "url": served.url,
        "host": served.address,
        "port": served.port,
        "loopback": served.is_local,
        "pages": {name: served.url + path for name, (path, _) in PAGES.items()},
        "keys": {"any": "works", **{word: TROUBLES[word] for word in WORDS}},
        "providers": [
            {
                "name": dialect.name,
                "title": dialect.title,
                "base_url": served.url,
                "instead_of": dialect.instead_of,
                "key_header": dialect.example.key_header.format("any"),
                "callback_field": dialect.example.callback_field,
                "curl": dialect.example.curl(served.url, "any", RECEIVER),
            }
            for dialect in DIALECTS
        ],
    }


def _summary(served: Sandbox) -> str:
    shown = facts(served)
    reach = "this machine only" if served.is_local else "open to the network"
    lines = [f"Sandbox providers on {served.url} ({reach}). Press Ctrl-C to stop.", ""]
    lines += [f"  {name:<7} {shown['pages'][name]:<38} {about}" for name, (_, about) in PAGES.items()]
    refused = " and ".join(f"`{word}` ({TROUBLES[word]})" for word in WORDS)
    lines += ["", f"Any key works, except {refused}; each key has its own tasks and charges."]
    lines += ["", f"In the examples, replace {RECEIVER} with your receiver's URL."]
    for one in shown["providers"]:
        lines += ["", f"# {one['title']}: {one['base_url']} instead of {one['instead_of']}", one["curl"]]
    return "\n".join([*lines, ""])


def _warn(served: Sandbox) -> None:
    if not served.is_local:
        click.echo(
            f"sandbox: warning: {served.address} is open without a password: anyone who can reach it can make it POST "
            "to any address that this machine can reach",
            err=True,
        )


def _free_port(host: str) -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            with socket.socket() as probe:
                # As the server does: a port with connections in TIME_WAIT is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CannotServe(f"cannot listen on {host}:{port}: {error.strerror}") from error
    last = FIRST_PORT + PORTS - 1
    raise CannotServe(f"no port from {FIRST_PORT} to {last} is free on {host}: choose another with --port")


def _log_progress() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    progress = logging.getLogger("webhook.sandbox.progress")
    progress.addHandler(handler)
    progress.setLevel(logging.INFO)
    # A closed terminal is no reason to stop.
    logging.raiseExceptions = False
