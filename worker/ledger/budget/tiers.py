"""What the price of a stored generation depends on."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlalchemy import case

from worker.generation import GenerationRequest, Operation
from worker.ledger.schema import generations
from worker.pricing import Tier, extras_of

_g = generations.c
#: the columns that `tier_of_row` reads. Prompts are long, so they are read only if the row was written by a version
#: that did not know extras
TIER = (
    *(_g.operation, _g.speed, _g.version, _g.extras),
    *(case((_g.extras.is_(None), column), else_=None).label(column.name) for column in (_g.prompt, _g.options)),
)


class Tiered(Protocol):
    """A row with the columns of `TIER`."""

    @property
    def operation(self) -> str: ...
    @property
    def speed(self) -> str | None: ...
    @property
    def version(self) -> str | None: ...
    @property
    def extras(self) -> Sequence[str] | None: ...
    @property
    def prompt(self) -> str | None: ...
    @property
    def options(self) -> Mapping[str, object] | None: ...


def tier_of_row(row: Tiered) -> Tier:
    extras = row.extras
    if extras is None:
        request = GenerationRequest(
            operation=Operation(row.operation), prompt=row.prompt or "", options=row.options or {}
        )
        extras = extras_of(request, row.version)
    return Tier(row.speed, row.version, tuple(extras))
