"""A request with an idempotency key is carried out once, however often it is sent.

A request that takes one transaction is claimed and kept in that transaction: the key never survives without the work,
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

#: a lease that ends later was written by a wrong clock
LONGEST_LEASE = timedelta(minutes=10)
#: what a request created: name → ids
Result = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """`owner`: the id of the token; `request_sha256`: identifies the content of the request."""

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
    """Return what the same request created before; if None, carry it out and `keep` its result.

    Concurrent identical requests wait here for the first one's transaction. `lease_until`: for a request that takes
    several transactions and is claimed in a separate one. Raises KeyReused if the key belongs to a different request,
    and KeyInUse while the same request is in progress under such a lease.
    """
    kept = claim_or_find(connection, once, now, lease_until)
    return None if kept is None else kept.result


def claim_or_find(connection: Connection, once: Once, now: datetime, lease_until: datetime | None) -> Kept | None:
    """As `claim`, but return None only for a new request. Without a result, an earlier process died or failed."""
    row = {
        "owner": once.owner,
        "key": once.key,
        "request_sha256": once.request_sha256,
        "created_at": now,
        "lease_until": lease_until,
    }
    # RETURNING instead of the row count, which PostgreSQL's driver does not report for this INSERT.
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
    """Return what was created under this key; None if the request has yet to be carried out. Raises as `claim` does."""
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
    """Keep the result of a claimed request, in the transaction that creates it."""
    mine = {"owner": once.owner, "key": once.key}
    update_row(connection, idempotency_keys, mine, result=result, lease_until=None)
