"""Versions of rows: a changed row is submitted again as a new version, which replaces the previous one."""

from collections.abc import Iterable, Sequence

from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.generations import KnownRow


def base_of(key: str, *, is_choice: bool) -> str:
    """Return the key of the row in the file; `is_choice`: it is one of several that a template made from the row."""
    return key.rpartition("/")[0] if is_choice else key


def replaced_in(ledger: Ledger, generations: Sequence[Generation]) -> set[str]:
    """Return the ids of those whose row has a newer version in their batch."""
    batches = {one.batch_id for one in generations if one.batch_id is not None and one.row_number is not None}
    found: set[str] = set()
    for batch_id in batches:
        rows = ledger.generations.rows_of_batch(batch_id)
        newest = _newest(rows)
        found |= {
            row.id for row in rows if row.key is not None and version_of(row) < max(newest[_base(row)], newest[row.key])
        }
    return found


def _newest(rows: Iterable[KnownRow]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        # Each entry that a template made from a row may have its own new version.
        for name in (row.key, _base(row)) if row.key is not None else ():
            found[name] = max(version_of(row), found.get(name, 1))
    return found


def _base(row: KnownRow) -> str:
    return base_of(str(row.key), is_choice=row.is_choice)


def version_of(row: KnownRow) -> int:
    """Return the version, from 1; older versions of the program recorded none."""
    return row.row_version or 1
