"""What a request that is repeated has made before."""

from worker.ledger.access.once import KEPT, Once, Result, result_of
from worker.ledger.database import Part


class Replays(Part):
    def result_of(self, once: Once) -> Result | None:
        """Return what the same request made; None if it is to be carried out.

        Only `claim` is sure of the latter. Raises KeyReused and KeyInUse as it does.
        """
        with self._database.read() as connection:
            kept = KEPT.first(connection, of=once.owner, named=once.key)
        return result_of(kept, once, self._database.clock())
