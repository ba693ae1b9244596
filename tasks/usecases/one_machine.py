"""What `darkroom up` wants to know of the machine that it runs."""

import socket
from collections.abc import Mapping
from contextlib import closing, suppress

from tasks.usecases.services import LedgerAlone
from worker.errors import DarkroomError
from worker.generation import State
from worker.settings import Settings


def workers_of_host(settings: Settings) -> Mapping[str, str]:
    """Workers of this host by name, with their roles; none while the ledger is away."""
    with suppress(DarkroomError), closing(LedgerAlone(settings)) as here:
        beats = here.ledger.maintenance.heartbeats()
        host = f"@{socket.gethostname()}"
        return {one.worker: one.role for one in beats if one.worker.endswith(host) and not one.is_stopped}
    return {}


def count_states(settings: Settings) -> Mapping[State, int] | None:
    """How many generations are in each state; None while the ledger is away, which the workers explain."""
    with suppress(DarkroomError), closing(LedgerAlone(settings)) as here:
        return here.ledger.generations.counts()
    return None
