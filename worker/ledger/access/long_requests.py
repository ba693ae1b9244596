"""Requests of several transactions: claimed with a lease, renewed while they are carried out, kept at their end."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from worker.ledger.access.once import Once, Result, claim, keep
from worker.ledger.database import Part
from worker.ledger.dispatch import SLACK
from worker.ledger.schema import CleanText, UtcDateTime, idempotency_keys
from worker.ledger.statements import Query, columns_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """`result`: what the same request has made before; None if it is to be carried out.

    `begun_at`: when it was claimed for the first time. `is_new`: nobody else has carried it out in part.
    """

    result: Result | None
    begun_at: datetime
    is_new: bool


class _Begun(NamedTuple):
    created_at: datetime


_k = idempotency_keys.c
_THIS = (_k.owner == bindparam("of", type_=CleanText()), _k.key == bindparam("named", type_=CleanText()))
_BEGUN = Query(_Begun, select(*columns_of(idempotency_keys, _Begun)).where(*_THIS))
_OPEN = (*_THIS, _k.result.is_(None))
_SET_LEASE = update(idempotency_keys).where(*_OPEN).values(lease_until=bindparam("until", type_=UtcDateTime()))
# One in the far future was written under a wrong clock.
_END_WRONG = (
    update(idempotency_keys)
    .where(*_THIS, _k.lease_until > bindparam("latest", type_=UtcDateTime()))
    .values(lease_until=None)
)
_FORGET = delete(idempotency_keys).where(*_OPEN)


class LongRequests(Part):
    """Whoever carries one out writes nothing twice: a lease only keeps others from doing the same work meanwhile."""

    def claim_request(self, once: Once, lease: timedelta) -> Claimed:
        """As `claim`, in a transaction of its own."""
        now = self._database.clock()
        with self._database.write() as connection:
            connection.execute(_END_WRONG, {**_named(once), "latest": now + lease + SLACK})
            result = claim(connection, once, now, now + lease)
            begun = _BEGUN.first(connection, **_named(once))
        assert begun is not None, "it was claimed just now"  # noqa: S101
        return Claimed(result=result, begun_at=begun.created_at, is_new=result is None and begun.created_at == now)

    def renew_request(self, once: Once, lease: timedelta) -> None:
        self._set_lease(once, self._database.clock() + lease)

    def keep_request(self, once: Once, result: Result) -> None:
        """It is done: whoever repeats it gets `result`."""
        with self._database.write(under_way=True) as connection:
            keep(connection, once, result)

    def give_up_request(self, once: Once) -> None:
        """End the lease of one that was broken off: whoever repeats it completes it."""
        self._set_lease(once, None)

    def forget_request(self, once: Once) -> None:
        """It came to nothing, or its key is to be used again: the next request may be another one."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_FORGET, _named(once))

    def _set_lease(self, once: Once, until: datetime | None) -> None:
        with self._database.write(under_way=True) as connection:
            connection.execute(_SET_LEASE, {**_named(once), "until": until})


def _named(once: Once) -> dict[str, object]:
    return {"of": once.owner, "named": once.key}
