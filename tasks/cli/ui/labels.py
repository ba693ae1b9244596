"""`--label NAME=VALUE`: given to what is submitted, or a filter."""

from collections.abc import Sequence

import click

from tasks.usecases.labels import read_labels
from worker.errors import RequestInvalid


def _read(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    try:
        return read_labels(given)
    except RequestInvalid as error:
        raise click.BadParameter(str(error)) from error


#: for commands that submit
label_option = click.option(
    "--label", "labels", multiple=True, callback=_read, metavar="NAME=VALUE",
    help="Label for finding and billing, such as client=acme; follow-ups inherit it. Repeatable.",
)  # fmt: skip
#: for commands that select
label_filter = click.option(
    "--label", "labels", multiple=True, callback=_read, metavar="NAME=VALUE",
    help="Only those with this label; repeatable, and all must match.",
)  # fmt: skip
