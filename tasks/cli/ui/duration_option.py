"""Time spans on the command line."""

import re
from datetime import timedelta

import click

#: more could lead to a date before the first calendar year
_LONGEST = timedelta(days=3650)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def read_span(_: click.Context, __: click.Parameter, given: str | None) -> timedelta | None:
    """Parse `90m`, `2h` or `3d` as a time span."""
    if given is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", given)
    if not found:
        raise click.BadParameter(f"{given!r} is not a time span such as 90m, 2h or 3d")
    span = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if span > _LONGEST:
        raise click.BadParameter(f"{given!r} is too long: the maximum is {_LONGEST.days}d")
    return span
