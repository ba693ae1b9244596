"""How commands speak: results on standard output, everything else on standard error, and never a secret."""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import click

from worker.redaction import redact, shorten_files

_LINK = re.compile(r"https?://\S+", re.IGNORECASE)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(value: Any) -> None:
    """One JSON document on one line."""
    # Readable where the other side reads UTF-8, and still JSON where it does not.
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    text = json.dumps(value, ensure_ascii=ascii_only)
    # What is not printable can repaint a terminal, or turn its lines around; escaped it means the same.
    click.echo(text if text.isprintable() else "".join(map(_escaped, text)))


def note(text: str) -> None:
    """Something for the person and not for the program behind the pipe."""
    click.echo(text, err=True)


def links_hidden(value: Any) -> Any:
    """What the user wrote (a prompt, options): only its links can hold secrets, and its files are too long to show."""
    if isinstance(value, str):
        return _LINK.sub(lambda match: redact(match[0]), shorten_files(value))
    return _each(value, links_hidden)


def secrets_hidden(value: Any) -> Any:
    """What others wrote: error texts, events."""
    return redact(value) if isinstance(value, str) else _each(value, secrets_hidden)


def one_line(text: str) -> str:
    """Text from outside as one harmless line: a control character could repaint the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def lines_only(text: str) -> str:
    """Text from outside, whose lines may stay."""
    return "\n".join(map(one_line, text.split("\n")))


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() else json.dumps(sign)[1:-1]


def _each(value: Any, hide: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): hide(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide(item) for item in value]
    return value
