"""Which workers execute tasks, as far as the ledger knows."""

from datetime import timedelta

from worker.ledger import Ledger
from worker.ledger.watching import Heartbeat

#: several times the longest pause between two heartbeats of an idle worker (`ping`, each 10 seconds to one of them)
SILENCE = timedelta(seconds=75)


def alive(ledger: Ledger) -> list[Heartbeat]:
    """Those that were heard lately."""
    now = ledger.database.clock()
    return [beat for beat in ledger.watching.heartbeats() if beat.silence(now) <= SILENCE]
