"""What the requests of one process share."""

from dataclasses import dataclass
from functools import partial

from tasks.usecases.snapshots import Waits, ended
from webhook.api.waiting import Waiting
from worker.services import Services


@dataclass(frozen=True, slots=True)
class Shared:
    """`waiting`: those who wait for the end of a generation; `waits`: what holds up the whole pipeline."""

    waiting: Waiting
    waits: Waits

    @classmethod
    def of(cls, here: Services) -> "Shared":
        return cls(Waiting(partial(ended, here)), Waits(here))
