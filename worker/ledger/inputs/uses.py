"""Which generations use which input files."""

from collections.abc import Iterable

from sqlalchemy import Connection

from worker.ledger.schema import input_uses
from worker.ledger.statements import insert_ignoring


def write_uses(connection: Connection, uses: Iterable[tuple[str, str]]) -> None:
    """Record which generations use the files with these SHA-256; the rows of both must exist."""
    rows = [{"generation_id": generation_id, "sha256": sha256} for generation_id, sha256 in sorted(set(uses))]
    if rows:
        connection.execute(insert_ignoring(connection, input_uses), rows)
