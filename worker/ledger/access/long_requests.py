"""Requests of several transactions: claimed with a lease, renewed while they are carried out, kept at their end."""

from datetime import timedelta

from worker.ledger.access.once import Once, Result, claim, keep
from worker.ledger.database import Part
from worker.ledger.schema import idempotency_keys
from worker.ledger.statements import update_row


class LongRequests(Part):
    def claim_request(self, once: Once, lease: timedelta) -> Result | None:
        """As `claim`, in a transaction of its own."""
        now = self._database.clock()
        with self._database.write() as connection:
            return claim(connection, once, now, now + lease)

    def renew_request(self, once: Once, lease: timedelta) -> None:
        until = self._database.clock() + lease
        with self._database.write() as connection:
            mine = {"owner": once.owner, "key": once.key}
            update_row(connection, idempotency_keys, mine, lease_until=until)

    def keep_request(self, once: Once, result: Result) -> None:
        with self._database.write() as connection:
            keep(connection, once, result)

    def give_up_request(self, once: Once) -> None:
        """End the lease of a request that came to nothing: whoever repeats it carries it out."""
        with self._database.write() as connection:
            mine = {"owner": once.owner, "key": once.key}
            update_row(connection, idempotency_keys, mine, lease_until=None)
