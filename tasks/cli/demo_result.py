"""What a demo has brought."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from tasks.cli.output import one_line
from tasks.cli.style import as_tree, console, size, state_text, what
from worker.generation import Asset, Generation, State


@dataclass(frozen=True, slots=True)
class Result:
    """`charges`: what the pretend provider has on its bill."""

    generations: tuple[Generation, ...]
    assets: Mapping[str, tuple[Asset, ...]]
    charges: int

    @property
    def archived(self) -> int:
        return sum(one.state is State.ARCHIVED for one in self.generations)

    @property
    def all_archived(self) -> bool:
        return self.archived == len(self.generations)

    def as_json(self) -> dict[str, Any]:
        return {
            "submitted": len(self.generations),
            "archived": self.archived,
            "failed": len(self.generations) - self.archived,
            "assets": [
                {"generation": one.id, "key": asset.key, "sha256": asset.sha256, "bytes": asset.bytes}
                for one in self.generations
                for asset in self.assets[one.id]
                if asset.key is not None
            ],
            "charges": self.charges,
        }


def print_table(result: Result) -> None:
    """Where each picture lies, on standard output."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True, justify="right", style="bright_black")
    table.add_column(overflow="fold")
    for depth, one in as_tree(result.generations):
        label = " " * depth + one_line(one.action or one.key or what(one))
        stored = [asset for asset in result.assets[one.id] if asset.key is not None]
        for asset in stored:
            table.add_row(label, size(asset.bytes), Text(str(asset.key)))
        if not stored:
            table.add_row(label, "", state_text(one.state))
    console().print(table)
