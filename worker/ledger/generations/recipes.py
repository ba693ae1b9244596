"""The recipes that generations follow, each kept once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import select

from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.schema import recipes
from worker.ledger.statements import IDS, Query, columns_of, insert_ignoring
from worker.recipes import Recipe, from_document, to_document


class _Kept(NamedTuple):
    sha256: str
    name: str
    document: Mapping[str, object]


_KEPT = Query(_Kept, select(*columns_of(recipes, _Kept)).where(recipes.c.sha256.in_(IDS)))


class Recipes(Part):
    def recipes(self, digests: Sequence[str]) -> dict[str, Recipe]:
        """Return those that generations have started with, by SHA-256."""
        with self._database.read() as connection:
            rows = _KEPT.each(connection, sorted(set(digests)))
        return {row.sha256: from_document(row.document) for row in rows}


def write_recipes(changes: Changes, wanted: Sequence[Recipe]) -> None:
    """Keep them, each once."""
    by_digest = {one.sha256: one for one in wanted}
    rows = [
        {"sha256": sha256, "name": one.name, "document": to_document(one), "created_at": changes.at}
        for sha256, one in sorted(by_digest.items())
    ]
    if rows:
        changes.connection.execute(insert_ignoring(changes.connection, recipes), rows)
