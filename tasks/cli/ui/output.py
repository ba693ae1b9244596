"""How commands speak: results on standard output, everything else on standard error, and never a secret."""

import json
import sys
from typing import Any

import click

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


def one_line(text: str) -> str:
    """Text from outside as one harmless line: a control character could repaint the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def lines_only(text: str) -> str:
    """Text from outside, whose lines may stay."""
    return "\n".join(map(one_line, text.split("\n")))


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() else json.dumps(sign)[1:-1]
