"""The result of a demo."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from tasks.cli.ui.output import one_line
from tasks.cli.ui.style import as_tree, console, size, state_text, what
from tasks.usecases.providers import provider_title
from worker.generation import Asset, Generation, Operation, State


@dataclass(frozen=True, slots=True)
class Result:
    """`charges`: what each sandbox provider charged; `events`: the events that the receiver got."""

    generations: tuple[Generation, ...]
    assets: Mapping[str, tuple[Asset, ...]]
    charges: Mapping[str, int]
    events: int

    @property
    def archived(self) -> int:
        return _archived(self.generations)

    @property
    def all_archived(self) -> bool:
        return self.archived == len(self.generations)

    def by_provider(self) -> dict[str, list[Generation]]:
        found: dict[str, list[Generation]] = {}
        for one in self.generations:
            found.setdefault(one.provider, []).append(one)
        return found

    def moves(self) -> Counter[tuple[str, str, str]]:
        """Return how many generations moved, by old provider, new provider and reason."""
        return Counter(
            (change.left, change.to, change.why) for one in self.generations for change in one.provider_changes
        )

    def moves_told(self) -> list[str]:
        """Return a sentence for each of `moves`."""
        return [
            f"{number} {'generation' if number == 1 else 'generations'} went to {provider_title(to)} because "
            f"{provider_title(left)} accepted no more ({why})"
            for (left, to, why), number in self.moves().items()
        ]

    @property
    def split(self) -> int:
        return sum(one.operation is Operation.SPLIT for one in self.generations)

    @property
    def approved(self) -> int:
        """Return the number of follow-ups of picked images."""
        return sum(one.step is not None and one.operation is not Operation.SPLIT for one in self.generations)

    def recipe_told(self) -> list[str]:
        """Return a sentence about what the recipe made, and one about the event."""
        told = "received" if self.events else "NOT received"
        return [
            f"By its recipe: {self.split} grid split at no cost, {self.approved} image upscaled that was approved",
            f"The event batch.completed was {told} by the demo's receiver, and its signature was checked",
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "submitted": len(self.generations),
            "archived": self.archived,
            "failed": len(self.generations) - self.archived,
            "assets": [
                {"generation": one.id, "object_key": asset.object_key, "sha256": asset.sha256, "bytes": asset.bytes}
                for one in self.generations
                for asset in self.assets[one.id]
                if asset.object_key is not None
            ],
            "charges": sum(self.charges.values()),
            "split": self.split,
            "approved": self.approved,
            "events": self.events,
            "moved": [
                {"left": left, "to": to, "why": why, "generations": number}
                for (left, to, why), number in self.moves().items()
            ],
            "providers": {
                name: {"submitted": len(some), "archived": _archived(some), "charges": self.charges.get(name, 0)}
                for name, some in self.by_provider().items()
            },
        }


def print_table(result: Result) -> None:
    """Print what each provider made, and where it is stored."""
    for name, generations in result.by_provider().items():
        files = sum(asset.object_key is not None for one in generations for asset in result.assets[one.id])
        archived, charges = _archived(generations), result.charges.get(name, 0)
        facts = f"  {archived} of {len(generations)} archived, files: {files}, charges: {charges}"
        console().print(Text.assemble((provider_title(name), "bold"), facts))
        console().print(_table(result, generations))
        console().print()


def _table(result: Result, generations: list[Generation]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True, justify="right", style="bright_black")
    table.add_column(overflow="fold")
    for depth, one in as_tree(generations):
        label = " " * depth + one_line(one.action or one.key or what(one))
        stored = [asset for asset in result.assets[one.id] if asset.object_key is not None]
        for number, asset in enumerate(stored):
            table.add_row(label if number == 0 else "", size(asset.bytes), Text(str(asset.object_key)))
        if not stored:
            table.add_row(label, "", state_text(one.state))
    return table


def _archived(generations: Sequence[Generation]) -> int:
    return sum(one.state is State.ARCHIVED for one in generations)
