"""Options and output lines that the event commands share."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from tasks.cli.ui.output import one_line
from tasks.usecases.names import short_id


def _split(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for one in given for part in one.split(",") if part.strip())


types_option = click.option(
    "--type",
    "--types",
    "types",
    multiple=True,
    callback=_split,
    metavar="PATTERN",
    help="Only these types, such as 'generation.*,asset.expired'; repeatable.",
)


def event_line(document: Mapping[str, Any]) -> str:
    """Describe an event on one line for people: time, type, subject, reason and id."""
    data = document["data"]
    at = datetime.fromisoformat(document["timestamp"]).astimezone()
    of = short_id(data["generation_id"]) if "generation_id" in data else data.get("batch") or data.get("provider") or ""
    facts = [f"{at:%Y-%m-%d %H:%M:%S}", document["type"], of, data.get("key", ""), _why(data), document["id"]]
    return one_line("  ".join(fact for fact in facts if fact))


def _why(data: Mapping[str, Any]) -> str:
    if "counts" in data:
        return ", ".join(f"{number:,} {state}" for state, number in data["counts"].items())
    if "object_key" in data:
        return str(data["object_key"])
    reason, said = data.get("reason"), data.get("message") or data.get("error")
    return ": ".join(filter(None, (reason, said)))
