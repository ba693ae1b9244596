"""Requests that take several transactions: claimed with a lease, renewed while in progress, kept at the end.

The lease only prevents others from doing the same work at the same time. It does not protect against duplicates: the
code that carries out a request must itself write nothing twice.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, update

from worker.ledger.access.once import Once, Result, claim_or_find, keep
from worker.ledger.database import Part
from worker.ledger.schema import CleanText, UtcDateTime, idempotency_keys


class Claimed(NamedTuple):
    """`begun_at`: when the request was first claimed. If it is neither new nor has a result, it was interrupted."""

    result: Result | None
    begun_at: datetime
    is_new: bool


_k = idempotency_keys.c
_THIS = (_k.owner == bindparam("of", type_=CleanText()), _k.key == bindparam("named", type_=CleanText()))
_OPEN = (*_THIS, _k.result.is_(None))
_SET_LEASE = update(idempotency_keys).where(*_OPEN).values(lease_until=bindparam("until", type_=UtcDateTime()))
_FORGET = delete(idempotency_keys).where(*_OPEN)


class LongRequests(Part):
    def claim_request(self, once: Once, lease: timedelta) -> Claimed:
        """Claim a request as `claim` does, in a separate transaction."""
        now = self._database.clock()
        with self._database.write(aside=True) as connection:
            kept = claim_or_find(connection, once, now, now + lease)
        return Claimed(None, now, is_new=True) if kept is None else Claimed(kept.result, kept.created_at, is_new=False)

    def renew_request(self, once: Once, lease: timedelta) -> None:
        self._set_lease(once, self._database.clock() + lease)

    def keep_request(self, once: Once, result: Result) -> None:
        """Mark a request as done: repeating it returns `result`."""
        with self._database.write(under_way=True, aside=True) as connection:
            keep(connection, once, result)

    def give_up_request(self, once: Once) -> None:
        """End the lease of an interrupted request, so that repeating the request completes it."""
        self._set_lease(once, None)

    def forget_request(self, once: Once) -> None:
        """Free the key of a request without a result: the next request with this key may be a different one."""
        with self._database.write(under_way=True, aside=True) as connection:
            connection.execute(_FORGET, _named(once))

    def _set_lease(self, once: Once, until: datetime | None) -> None:
        with self._database.write(under_way=True, aside=True) as connection:
            connection.execute(_SET_LEASE, {**_named(once), "until": until})


def _named(once: Once) -> dict[str, object]:
    return {"of": once.owner, "named": once.key}
