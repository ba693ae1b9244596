"""The façade for input files.

A file that is recorded again after it was pruned gets a different key in the bucket, so that deleting the object of a
pruned row never deletes a newer one.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, delete, literal, select

from worker.generation import FINAL
from worker.ledger.database import Part
from worker.ledger.schema import CleanText, UtcDateTime, generations, input_uses, inputs
from worker.ledger.statements import IDS, LIMIT, Query, columns_of, insert_into

#: the most rows that one transaction prunes
BITE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file to be stored. `extension` has no dot."""

    sha256: str
    bytes: int
    content_type: str
    extension: str


class InputObject(NamedTuple):
    """Where a file is in the bucket."""

    sha256: str
    object_key: str
    bytes: int
    content_type: str


class _Sha256(NamedTuple):
    sha256: str


_i, _u, _g = inputs.c, input_uses.c, generations.c
_OBJECTS = Query(InputObject, select(*columns_of(inputs, InputObject)).where(_i.sha256.in_(IDS)))
_BEFORE = bindparam("before", type_=UtcDateTime())
# Includes generations that ended recently: a person may retry them.
_IS_IN_USE = (
    select(literal(1))
    .select_from(input_uses.join(generations, _g.id == _u.generation_id))
    .where(_u.sha256 == _i.sha256, ~_g.state.in_(sorted(FINAL)) | (_g.updated_at >= _BEFORE))
    .exists()
)
_DUE = (_i.used_at < _BEFORE, ~_IS_IN_USE)
_OLD = Query(
    InputObject,
    select(*columns_of(inputs, InputObject))
    .where(*_DUE)
    .order_by(_i.used_at, _i.sha256)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
_FORGET_USES = delete(input_uses).where(_u.sha256.in_(IDS))
_FORGET = delete(inputs).where(_i.sha256.in_(IDS))
_USED_BY = Query(_Sha256, select(_u.sha256).where(_u.generation_id == bindparam("of", type_=CleanText())))


class Inputs(Part):
    def record(self, files: Sequence[InputFile], folder: str) -> dict[str, InputObject]:
        """Record that these files are used now; return where each belongs below `folder`, by SHA-256.

        The caller stores the files afterwards; recorded files are not pruned in between.
        """
        now = self._database.clock()
        rows = [
            {
                "sha256": one.sha256,
                "object_key": f"{folder}/{one.sha256}/{secrets.token_hex(4)}.{one.extension}",
                "bytes": one.bytes,
                "content_type": one.content_type,
                "created_at": now,
                "used_at": now,
            }
            for one in sorted({one.sha256: one for one in files}.values(), key=lambda one: one.sha256)
        ]
        if not rows:
            return {}
        with self._database.write() as connection:
            insert = insert_into(connection, inputs)
            again = {"used_at": insert.excluded.used_at}
            connection.execute(insert.on_conflict_do_update(index_elements=["sha256"], set_=again), rows)
            found = _OBJECTS.each(connection, [str(row["sha256"]) for row in rows])
        return {one.sha256: one for one in found}

    def get(self, digests: Sequence[str]) -> Mapping[str, InputObject]:
        """Return the recorded ones of these files, by SHA-256."""
        with self._database.read() as connection:
            return {one.sha256: one for one in _OBJECTS.each(connection, sorted(set(digests)))}

    def used_by(self, generation_id: str) -> list[str]:
        """Return the SHA-256 of each file that a generation uses."""
        with self._database.read() as connection:
            return sorted(row.sha256 for row in _USED_BY.all(connection, of=generation_id))

    def prune(self, before: datetime) -> list[InputObject]:
        """Forget some files that nothing has used since `before`; return them so that their objects can be deleted."""
        with self._database.write() as connection:
            old = _OLD.all(connection, before=before, limit=BITE)
            if old:
                ids = {"ids": [one.sha256 for one in old]}
                connection.execute(_FORGET_USES, ids)
                connection.execute(_FORGET, ids)
        return list(old)
