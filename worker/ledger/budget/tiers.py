"""What the price of a stored generation depends on."""

from typing import Any

from sqlalchemy import case

from worker.generation import GenerationRequest, Operation
from worker.ledger.schema import generations
from worker.pricing import Tier, extras_of

_g = generations.c
#: what `tier_of_row` reads. Prompts are long, so they are read only where the version of the program that wrote the row
#: did not know extras
TIER = (
    *(_g.operation, _g.speed, _g.version, _g.extras),
    *(case((_g.extras.is_(None), column), else_=None).label(column.name) for column in (_g.prompt, _g.options)),
)


def tier_of_row(row: Any) -> Tier:
    extras = row.extras
    if extras is None:
        extras = extras_of(
            GenerationRequest(operation=Operation(row.operation), prompt=row.prompt, options=row.options), row.version
        )
    return Tier(row.speed, row.version, tuple(extras))
