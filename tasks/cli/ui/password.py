"""A password from a terminal or from standard input; never from an argument, which every process can read."""

import sys

import click

password_stdin_option = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Read the password from standard input, as its first line."
)
#: maximum bytes of a line; more than the longest password needs
_LONGEST_LINE = 16 * 1024


def read_password(*, from_stdin: bool) -> str:
    """Return the password. Raises UsageError if there is none and no terminal to ask on."""
    if from_stdin:
        return _first_line()
    if not _is_terminal():
        raise click.UsageError(
            "cannot ask for the password without a terminal: run this in one, or send the password to standard input "
            "and add --password-stdin"
        )
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True))


def _first_line() -> str:
    line = sys.stdin.buffer.readline(_LONGEST_LINE)
    try:
        password = line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.UsageError("standard input is not UTF-8, so the password cannot be read") from error
    if not password:
        raise click.UsageError("the first line of standard input has no password")
    return password


def _is_terminal() -> bool:
    return sys.stdin.isatty()
