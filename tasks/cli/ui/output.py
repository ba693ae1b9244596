"""Output of commands: results on standard output, everything else on standard error, secrets redacted."""

import json
import sys
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(value: Any) -> None:
    """Print one JSON document on one line."""
    # Readable if the other side reads UTF-8, and still JSON if it does not.
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    text = json.dumps(value, ensure_ascii=ascii_only)
    # Unprintable characters can repaint a terminal or reverse its lines; escaped, they mean the same.
    click.echo(text if text.isprintable() else "".join(map(_escaped, text)))


def note(text: str) -> None:
    """Print a note for the user on standard error, out of the way of a program reading the pipe."""
    click.echo(text, err=True)


def one_line(text: str) -> str:
    """Return external text as one harmless line: a control character could repaint the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def lines_only(text: str) -> str:
    """Like `one_line`, but keep line breaks."""
    return "\n".join(map(one_line, text.split("\n")))


def _escaped(sign: str) -> str:
    return sign if sign.isprintable() else json.dumps(sign)[1:-1]


def many(number: int, what: str) -> str:
    """Return a count such as `1 row` or `1,200 rows`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
