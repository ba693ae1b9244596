"""`darkroom providers`: what each provider can do, and with which options."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.output import json_option, print_json
from tasks.cli.ui.style import console
from worker.errors import ConfigurationError
from worker.generation import Operation
from worker.providers import PROVIDERS, Callback, Provider, load_provider, provider_class
from worker.providers.capability import Capability
from worker.settings import Settings

#: options with the same name and values at every provider that has them; all others are a provider's own
NORMALISED = frozenset({
    "aspect_ratio", "version", "speed", "quality", "stylize", "weird", "chaos", "seed", "images", "style_images",
    "omni_image", "omni_weight", "mask", "video_size", "motion", "videos", "loop", "end_image", "translation",
})  # fmt: skip
_DIM = "bright_black"


@dataclass(frozen=True, slots=True)
class Row:
    """One provider as this machine has it; `missing`: what it still needs here."""

    kind: type[Provider]
    missing: str | None
    callback: Callback
    rate: float
    in_flight: int
    retention: timedelta

    @property
    def retention_days(self) -> float:
        return round(self.retention / timedelta(days=1), 3)

    @property
    def options(self) -> list[str]:
        return sorted({name for one in self.kind.capabilities.values() for name in one.options})

    def as_json(self) -> dict[str, Any]:
        capabilities = self.kind.capabilities
        return {
            "name": self.kind.name,
            "title": self.kind.title,
            "configured": self.missing is None,
            "missing": self.missing,
            "operations": list(capabilities),
            "options": self.options,
            "own_options": [name for name in self.options if name not in NORMALISED],
            "by_operation": {
                operation: {name: option.allowed for name, option in capability.options.items()}
                for operation, capability in capabilities.items()
            },
            "needs": {operation: sorted(one.needs) for operation, one in capabilities.items() if one.needs},
            "versions": {version: sorted(refused) for version, refused in self.kind.versions.items()},
            "prompt": {operation: one.prompt for operation, one in capabilities.items()},
            "actions": {operation: one.actions for operation, one in capabilities.items() if one.actions},
            "callback": self.callback,
            "retention_days": self.retention_days,
            "prompt_limit": self.kind.prompt_limit,
            "rate": self.rate,
            "in_flight": self.in_flight,
        }


@click.command()
@click.argument("name", required=False, metavar="[PROVIDER]")
@json_option
def providers(name: str | None, as_json: bool) -> None:
    """Show what each provider can do.

    With the name of one, the options that it takes for each operation: those marked as own are its own, all others mean
    the same at every provider. No key is needed.
    """
    if name is not None and name not in PROVIDERS:
        raise ConfigurationError(f"there is no provider {name!r}; there are: {', '.join(PROVIDERS)}")
    settings = read_settings()
    rows = [_row(one, settings) for one in ([name] if name else PROVIDERS)]
    if as_json:
        for row in rows:
            print_json(row.as_json())
    elif name:
        _print_one(rows[0])
    else:
        _print_all(rows)


def _row(name: str, settings: Settings) -> Row:
    kind = provider_class(name)
    try:
        missing, callback = None, load_provider(name, settings).callback
    except ConfigurationError as error:
        missing, callback = str(error), kind.callback
    rate, in_flight = (getattr(settings, f"{kind.prefix}_{limit}") for limit in ("rate", "in_flight"))
    return Row(kind, missing, callback, rate, in_flight, kind.retention or settings.link_life)


def _print_all(rows: list[Row]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for _ in rows:
        table.add_column(justify="center", no_wrap=True)
    table.add_row("", *(Text(row.kind.name, style="bold") for row in rows))
    for operation in Operation:
        table.add_row(operation, *(_mark(operation in row.kind.capabilities) for row in rows))
    table.add_row()
    for label, values in _facts(rows).items():
        table.add_row(Text(label, style=_DIM), *values)
    console().print(table)
    for row in rows:
        if row.missing:
            console().print(Text(f"{row.kind.name}: {row.missing}", style=_DIM))
    console().print(Text("`darkroom providers NAME` shows the options of one of them", style=_DIM))


def _facts(rows: list[Row]) -> Mapping[str, list[str | Text]]:
    return {
        "configured": [_mark(row.missing is None) for row in rows],
        "callback": [row.callback.value for row in rows],
        "links live": [_days(row) for row in rows],
        "prompt": [f"{row.kind.prompt_limit:,}" for row in rows],
        "new per second": [f"{row.rate:g}" for row in rows],
        "under way": [f"{row.in_flight:,}" for row in rows],
    }


def _print_one(row: Row) -> None:
    screen = console()
    kind = row.kind
    screen.print(Text.assemble((kind.title, "bold"), f" (--provider {kind.name})"))
    _print_pairs(
        ("configured", "yes" if row.missing is None else f"no: {row.missing}"),
        ("callback", row.callback.value),
        ("links live", _days(row)),
        ("prompt", f"at most {kind.prompt_limit:,} characters"),
        *([("versions", _versions(kind))] if kind.versions else []),
        ("pace", f"{row.rate:g} new per second, {row.in_flight:,} under way ({kind.prefix.upper()}_RATE, _IN_FLIGHT)"),
    )
    for (prompt, options), alike in groupby(kind.capabilities.items(), lambda item: _takes(item[1])):
        group = dict(alike)
        screen.print()
        screen.print(Text.assemble((", ".join(group), "bold"), (f"  prompt {prompt}", _DIM)))
        actions = ", ".join(action for one in group.values() for action in one.actions)
        _print_pairs(*([("actions", actions)] if actions else []), *options)


def _versions(kind: type[Provider]) -> str:
    """Those that it is known to have, with what they refuse."""
    return ", ".join(
        f"{version} (no {', '.join(sorted(refused))})" if refused else version
        for version, refused in kind.versions.items()
    )


def _takes(capability: Capability) -> tuple[str, list[tuple[str, str]]]:
    """Its prompt and options in words; operations that follow each other and take the same are told together."""
    options = []
    for name, option in capability.options.items():
        notes = (" (needed)" if name in capability.needs else "", "" if name in NORMALISED else " (own)")
        options.append((name, option.allowed + "".join(notes)))
    return capability.prompt, options


def _print_pairs(*pairs: tuple[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style=_DIM, width=17)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(f"  {name}", Text(value))
    console().print(table)


def _days(row: Row) -> str:
    return "1 day" if row.retention_days == 1 else f"{row.retention_days:g} days"


def _mark(is_there: bool) -> Text:
    return Text("✓", style="green") if is_there else Text("·", style=_DIM)
