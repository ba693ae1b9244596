"""Labels of generations: name → value. They are written with a generation and never change."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from worker.ledger.schema import Labels, generations, labels
from worker.ledger.statements import IDS, Query, columns_of, insert_rows


class _Label(NamedTuple):
    generation_id: str
    name: str
    value: str


_l = labels.c
_LABELS = Query(
    _Label, select(*columns_of(labels, _Label)).where(_l.generation_id.in_(IDS)).order_by(_l.generation_id, _l.name)
)
#: a column to select beside those of `generations`: None if a generation has no label and `labels_of` can be skipped
A_LABEL = (
    select(_l.name)
    .where(_l.generation_id == generations.c.id)
    .limit(1)
    .correlate(generations)
    .scalar_subquery()
    .label("a_label")
)


def write_labels(connection: Connection, labelled: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Write the labels of new generations, given by id, in one statement, or none if there are no labels."""
    rows = [
        {"generation_id": generation_id, "name": name, "value": value}
        for generation_id, theirs in labelled
        for name, value in sorted(theirs.items())
    ]
    insert_rows(connection, labels, rows)


def labels_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return labels by generation; generations without labels are left out."""
    found: dict[str, dict[str, str]] = {}
    for row in _LABELS.each(connection, generation_ids):
        found.setdefault(row.generation_id, {})[row.name] = row.value
    return found


def pairs_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, Labels]:
    """Return the same as `labels_of`, as pairs of name and value in order of name."""
    return {one: tuple(theirs.items()) for one, theirs in labels_of(connection, generation_ids).items()}
