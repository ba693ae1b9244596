"""The recipes that generations follow, each kept once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.schema import recipes
from worker.ledger.statements import Query, columns_of, insert_ignoring
from worker.recipes import Recipe, from_document, to_document


class _Kept(NamedTuple):
    document: Mapping[str, object]


_KEPT = Query(_Kept, select(*columns_of(recipes, _Kept)).where(recipes.c.sha256 == bindparam("sha256")))


class Recipes(Part):
    def recipe(self, sha256: str) -> Recipe:
        """Return a recipe that some generation follows."""
        with self._database.read() as connection:
            row = _KEPT.first(connection, sha256=sha256)
        assert row is not None, "it was kept with its generation"  # noqa: S101
        return from_document(row.document)


def write_recipes(changes: Changes, wanted: Sequence[Recipe]) -> None:
    """Store recipes, each once."""
    by_digest = {one.sha256: one for one in wanted}
    rows = [
        {"sha256": sha256, "name": one.name, "document": to_document(one), "created_at": changes.at}
        for sha256, one in sorted(by_digest.items())
    ]
    if rows:
        changes.connection.execute(insert_ignoring(changes.connection, recipes), rows)
