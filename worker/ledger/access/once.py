"""A request with an idempotency key is carried out once, however often it is sent.

What is carried out in one transaction is claimed and kept in that transaction: the key never survives without the work,
nor the work without its key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from worker.errors import KeyInUse, KeyReused
from worker.ledger.schema import CleanText, idempotency_keys
from worker.ledger.statements import Query, columns_of, insert_ignoring, update_row

#: one that ends later was written under a wrong clock
LONGEST_LEASE = timedelta(minutes=10)
#: what a request has made: name → ids
Result = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """`owner`: the id of the token; `request_sha256`: of what is asked, which differs for another request."""

    owner: str
    key: str
    request_sha256: str


class Kept(NamedTuple):
    request_sha256: str
    result: Mapping[str, Sequence[str]] | None
    lease_until: datetime | None
    created_at: datetime


_k = idempotency_keys.c
_KEPT = select(*columns_of(idempotency_keys, Kept)).where(
    _k.owner == bindparam("of", type_=CleanText()), _k.key == bindparam("named", type_=CleanText())
)
KEPT, KEPT_LOCKED = Query(Kept, _KEPT), Query(Kept, _KEPT.with_for_update())


def claim(connection: Connection, once: Once, now: datetime, lease_until: datetime | None = None) -> Result | None:
    """Return what the same request has made before; None if it is new: carry it out, and `keep` what it makes.

    Of several at once, the others wait here for the first one's transaction. `lease_until`: for a request of several
    transactions, which is claimed in one of its own. Raises KeyReused for another request, and KeyInUse while one is
    being carried out under such a lease.
    """
    kept = claim_or_find(connection, once, now, lease_until)
    return None if kept is None else kept.result


def claim_or_find(connection: Connection, once: Once, now: datetime, lease_until: datetime | None) -> Kept | None:
    """As `claim`, but None only if it is new: without a result, the process that carried it out died or failed."""
    row = {
        "owner": once.owner,
        "key": once.key,
        "request_sha256": once.request_sha256,
        "created_at": now,
        "lease_until": lease_until,
    }
    # Not by the number of rows: PostgreSQL's driver does not tell that of an INSERT here.
    inserted = insert_ignoring(connection, idempotency_keys).returning(_k.key)
    if connection.execute(inserted, row).first() is not None:
        return None
    kept = KEPT_LOCKED.first(connection, of=once.owner, named=once.key)
    assert kept is not None, "it is there, and locked"  # noqa: S101
    if result_of(kept, once, now) is None:
        # The caller completes it.
        update_row(connection, idempotency_keys, {"owner": once.owner, "key": once.key}, lease_until=lease_until)
    return kept


def result_of(kept: Kept | None, once: Once, now: datetime) -> Result | None:
    """Return what was made under this key; None if it is to be carried out. Raises as `claim` does."""
    if kept is None:
        return None
    if kept.request_sha256 != once.request_sha256:
        raise KeyReused(
            f"the idempotency key {once.key!r} already belongs to another request: repeat that one unchanged, or use a "
            "new key for a new request"
        )
    if kept.result is None and kept.lease_until is not None and now < kept.lease_until <= now + LONGEST_LEASE:
        raise KeyInUse(f"the request with the idempotency key {once.key!r} is being carried out: repeat it later")
    return kept.result


def keep(connection: Connection, once: Once, result: Result) -> None:
    """Keep what a claimed request has made, in the transaction that makes it."""
    mine = {"owner": once.owner, "key": once.key}
    update_row(connection, idempotency_keys, mine, result=result, lease_until=None)
