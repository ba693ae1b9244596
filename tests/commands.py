"""The command line in this process, as a person runs it against the settings of the test."""

import os

from click.testing import CliRunner, Result

from tasks.cli import cli


def darkroom(*arguments: str, said: str | None = None) -> Result:
    """Raises what is no error for a person; what the command sets for its own process is taken back.

    `said`: on standard input.
    """
    before = dict(os.environ)
    try:
        result = CliRunner().invoke(cli, arguments, input=said, prog_name="darkroom")
    finally:
        os.environ.clear()
        os.environ.update(before)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result
