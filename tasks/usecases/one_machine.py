"""What `darkroom up` needs to know about its machine."""

import socket
from collections.abc import Mapping
from contextlib import closing, suppress

from tasks.usecases.services import LedgerAlone
from worker.errors import DarkroomError
from worker.generation import State
from worker.settings import Settings


def workers_of_host(settings: Settings) -> Mapping[str, str]:
    """Return this host's workers by name, with their roles; none while the ledger is unreachable."""
    with suppress(DarkroomError), closing(LedgerAlone(settings)) as here:
        beats = here.ledger.maintenance.heartbeats()
        host = f"@{socket.gethostname()}"
        return {one.worker: one.role for one in beats if one.worker.endswith(host) and not one.is_stopped}
    return {}


def count_states(settings: Settings) -> Mapping[State, int] | None:
    """Return how many generations are in each state; None while the ledger is unreachable, which the workers report."""
    with suppress(DarkroomError), closing(LedgerAlone(settings)) as here:
        return here.ledger.generations.counts()
    return None
