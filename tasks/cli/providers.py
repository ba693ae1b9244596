"""`darkroom providers`: what each provider supports, and with which options."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import click
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.context import open_ledger
from tasks.cli.ui.output import json_option, print_json
from tasks.cli.ui.style import console
from tasks.usecases import views
from tasks.usecases.providers import (
    NORMALISED,
    AccountFacts,
    AccountStatus,
    Capability,
    ProviderFacts,
    describe_providers,
)
from worker.generation import Operation
from worker.secrets import redact, title_of

_DIM = "bright_black"


@click.command()
@click.argument("name", required=False, metavar="[PROVIDER]")
@json_option
def providers(name: str | None, as_json: bool) -> None:
    """Show what each provider supports.

    With a PROVIDER, shows the options that it accepts for each operation. Options marked "own" are specific to it; all
    others mean the same at every provider. No key is needed.
    """
    with open_ledger() as here:
        rows = describe_providers(here, name)
    if as_json:
        for row in rows:
            print_json(views.of_provider(row))
    elif name:
        _print_one(rows[0])
    else:
        _print_all(rows)


def _print_all(rows: Sequence[ProviderFacts]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for _ in rows:
        table.add_column(justify="center", no_wrap=True)
    table.add_row("", *(Text(row.name, style="bold") for row in rows))
    for operation in Operation:
        table.add_row(operation, *(_mark(operation in row.capabilities) for row in rows))
    table.add_row()
    for label, values in _facts(rows).items():
        table.add_row(Text(label, style=_DIM), *values)
    console().print(table)
    for row in rows:
        if row.missing:
            console().print(Text(f"{row.name}: {row.missing}", style=_DIM))
        for name, status in _troubled(row):
            console().print(Text(f"{name}: {status}", style="yellow"))
    console().print(Text("`darkroom providers NAME` shows the options of one of them", style=_DIM))


def _facts(rows: Sequence[ProviderFacts]) -> Mapping[str, list[str | Text]]:
    return {
        "configured": [_mark(row.missing is None) for row in rows],
        "callback": [row.callback.value for row in rows],
        "links last": [_days(row) for row in rows],
        "prompt": [f"{row.prompt_limit:,}" for row in rows],
        "new per second": [f"{row.rate:g}" for row in rows],
        "in flight": [f"{row.in_flight:,}" for row in rows],
    }


def _print_one(row: ProviderFacts) -> None:
    screen = console()
    screen.print(Text.assemble((row.title, "bold"), f" (--provider {row.name})"))
    _print_pairs(
        ("configured", "yes" if row.missing is None else f"no: {row.missing}"),
        ("callback", row.callback.value),
        ("links last", _days(row)),
        ("prompt", f"at most {row.prompt_limit:,} characters"),
        *([("versions", _versions(row))] if row.versions else []),
        *_troubled(row),
        ("limits", f"{row.rate:g} new per second, {row.in_flight:,} in flight ({row.prefix.upper()}_RATE, _IN_FLIGHT)"),
    )
    for (prompt, options), alike in groupby(row.capabilities.items(), lambda item: _takes(item[1])):
        group = dict(alike)
        screen.print()
        screen.print(Text.assemble((", ".join(group), "bold"), (f"  prompt {prompt}", _DIM)))
        actions = ", ".join(action for one in group.values() for action in one.actions)
        _print_pairs(*([("actions", actions)] if actions else []), *options)


def _troubled(row: ProviderFacts) -> list[tuple[str, str]]:
    """Return the accounts that are below their full rate, and why."""
    return [
        (title_of(row.name, one.account), _status(one))
        for one in row.accounts or ()
        if one.status is not AccountStatus.WORKING
    ]


def _status(one: AccountFacts) -> str:
    if one.status is AccountStatus.SLOWED:
        return f"slowed down to {one.rate:.2g} new per second"
    until = f" until {one.until.astimezone():%Y-%m-%d %H:%M}" if one.until else ", the next submission probes it"
    reason = f": {redact(one.reason)}" if one.reason else ""
    return f"{one.status.replace('_', ' ')}{until}{reason}"


def _versions(row: ProviderFacts) -> str:
    """Return the known versions, with the options that each refuses."""
    return ", ".join(
        f"{version} (no {', '.join(sorted(refused))})" if refused else version
        for version, refused in row.versions.items()
    )


def _takes(capability: Capability) -> tuple[str, list[tuple[str, str]]]:
    """Describe its prompt and options; consecutive operations with the same options share one entry."""
    options = []
    for name, option in capability.options.items():
        notes = (" (required)" if name in capability.needs else "", "" if name in NORMALISED else " (own)")
        options.append((name, option.allowed + "".join(notes)))
    return capability.prompt, options


def _print_pairs(*pairs: tuple[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=_DIM, width=17)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(f"  {name}", Text(value))
    console().print(table)


def _days(row: ProviderFacts) -> str:
    return "1 day" if row.retention_days == 1 else f"{row.retention_days:g} days"


def _mark(is_there: bool) -> Text:
    return Text("✓", style="green") if is_there else Text("·", style=_DIM)
