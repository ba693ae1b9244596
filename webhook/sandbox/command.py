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
#: where the search for a free port begins, and how many are tried
FIRST_PORT, PORTS = 9000, 100
#: stands in the examples
RECEIVER = "http://127.0.0.1:8000/callback"

#: the sandbox's own pages, and what they are for
PAGES = {
    "page": ("/", "the pictures"),
    "bill": ("/sandbox/bill", "what was accepted, and charged"),
    "log": ("/sandbox/log", "all that happened, callbacks too"),
    "tasks": ("/sandbox/tasks", "the last submissions"),
    "faults": ("/sandbox/faults", "what goes wrong by chance; POST others"),
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
    help=f"The port; 0 takes any free one.  [default: the first free one from {FIRST_PORT} on]",
)
@_seconds("--delay", default=2.0, most=86_400, about="How long a generation takes.")
@click.option(
    "--size",
    type=click.IntRange(2, 4096),
    default=1024,
    show_default=True,
    metavar="PIXELS",
    help="The side of a picture.",
)
@_seconds("--link-life", default=86_400.0, most=1e9, about="How long the link of a result works.")
@click.option(
    "--faults",
    default="{}",
    callback=_faults,
    metavar="JSON",
    help='What goes wrong by chance, like {"drop": 0.1, "duplicate": 0.5}.',
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of that chance, so that a run can be repeated.")
@click.option("--hmac-key", default="", metavar="KEY", help="Sign the callbacks of Kie.ai with it.")
@click.option("--quiet", is_flag=True, help="Tell the address and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def sandbox(host: str, port: int | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Serve the pretend providers, for anybody's receiver.

    They take submissions as their vendors do, draw pictures, call back, and go wrong where you ask for it. Nothing is
    paid and nothing leaves this machine but the callbacks. Each submission and each callback is told on standard error.
    Stops with Ctrl-C or SIGTERM.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not quiet:
        _tell_progress()
    if port is None:
        port = _free_port(host)
    with ExitStack() as stack:
        try:
            served = stack.enter_context(running(host=host, port=port, **options))
        except OSError as error:
            hint = "; leave --port out, and it takes the next free one" if error.errno == errno.EADDRINUSE else ""
            raise CannotServe(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
        _warn(served)
        if as_json:
            click.echo(json.dumps(facts(served)))
        else:
            click.echo(f"sandbox: serving on {served.url}" if quiet else _summary(served))
        stop.wait()


def facts(served: Sandbox) -> dict[str, Any]:
    """What somebody must know to use it."""
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
    told = facts(served)
    reach = "this machine only" if served.is_local else "every machine that reaches this one"
    lines = [f"Pretend Midjourney providers on {served.url} ({reach}). Ctrl-C stops them.", ""]
    lines += [f"  {name:<7} {told['pages'][name]:<38} {about}" for name, (_, about) in PAGES.items()]
    refused = " and ".join(f"`{word}` ({TROUBLES[word]})" for word in WORDS)
    lines += ["", f"Any key works, and has tasks and charges of its own, but {refused}."]
    lines += ["", f"Below, put your receiver's address for {RECEIVER}"]
    for one in told["providers"]:
        lines += ["", f"# {one['title']}: {one['base_url']} instead of {one['instead_of']}", one["curl"]]
    return "\n".join([*lines, ""])


def _warn(served: Sandbox) -> None:
    if not served.is_local:
        click.echo(
            f"sandbox: it listens on {served.address} and asks for no password: whoever reaches it can have it POST "
            "to any address that this machine reaches",
            err=True,
        )


def _free_port(host: str) -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            with socket.socket() as probe:
                # As the server does: a port whose last connections are still closing is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CannotServe(f"cannot listen on {host}:{port}: {error.strerror}") from error
    raise CannotServe(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free on {host}: name one with --port")


def _tell_progress() -> None:
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    progress = logging.getLogger("webhook.sandbox.progress")
    progress.addHandler(told)
    progress.setLevel(logging.INFO)
    # A terminal that has gone away is no reason to stop.
    logging.raiseExceptions = False
