"""`python -m webhook.sandbox`: serve the pretend provider until SIGTERM or Ctrl-C."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from webhook.sandbox import running
from webhook.sandbox.faults import FaultsInvalid, check_faults


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with running(**vars(chosen)) as sandbox:
            print(f"sandbox: serving on {sandbox.url}", flush=True)  # noqa: T201
            stop.wait()
    except OSError as error:
        print(f"sandbox: cannot listen on {chosen.host}:{chosen.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m webhook.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_number(int, 0, 65_535), default=9000)
    parser.add_argument("--delay", type=_number(float, 0, 86_400), default=2.0, help="seconds that a generation takes")
    parser.add_argument("--size", type=_number(int, 2, 4096), default=1024, help="side of a picture in pixels")
    parser.add_argument("--link-life", type=_number(float, 0, 1e9), default=86_400.0, help="seconds that a link works")
    parser.add_argument("--faults", type=_faults, default={}, help='knobs and probabilities, like {"drop": 0.1}')
    parser.add_argument("--seed", type=int, default=0, help="of the chance that turns the knobs")
    parser.add_argument("--hmac-key", default="", help="signs the callbacks of the dialects that sign theirs")
    return parser


def _number(kind: type[float], least: float, most: float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most:.0f}")
        return value

    convert.__name__ = kind.__name__
    return convert


def _faults(text: str) -> dict[str, Any]:
    try:
        return dict(check_faults(json.loads(text)))
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    except FaultsInvalid as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
