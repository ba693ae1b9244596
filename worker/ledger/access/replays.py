"""The earlier results of repeated requests."""

from worker.ledger.access.once import KEPT, Once, Result, result_of
from worker.ledger.database import Part


class Replays(Part):
    def result_of(self, once: Once) -> Result | None:
        """Return what the same request created; None if it seems not to have been carried out.

        Only `claim` can be certain of the latter. Raises KeyReused and KeyInUse as `claim` does.
        """
        with self._database.read() as connection:
            kept = KEPT.first(connection, of=once.owner, named=once.key)
        return result_of(kept, once, self._database.clock())
