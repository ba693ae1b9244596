"""State that the requests of one process share."""

from functools import partial

from tasks.usecases.snapshots import Snapshot, Waits, ended, snapshots
from webhook.joint_reads import JointReads
from webhook.scrapes import Scrapes
from webhook.shutdown import Shutdown
from webhook.waiting import Waiting
from webhook.waker import Waker
from worker.services import Services
from worker.steps import Step
from worker.wakeup import ring


class Shared:
    """`waiting`: requests that wait until a generation is final; `waits`: what holds up the whole pipeline.

    `snapshots`: generations that are requested one by one; `scrapes`: the metrics; `shutdown`: what to end when the
    process stops.
    """

    def __init__(self, here: Services) -> None:
        self.waiting = Waiting(partial(ended, here))
        self.waits = Waits(here)
        self.snapshots: JointReads[Snapshot] = JointReads(partial(snapshots, here))
        self.scrapes = Scrapes(here)
        self.shutdown = Shutdown()
        self.shutdown.add(self.waiting.close)
        self._wakers = {step: Waker(partial(ring, step)) for step in Step}

    def ring(self, *steps: Step) -> None:
        """Wake the steps that have work now, without waiting for the broker."""
        for step in steps:
            self._wakers[step].request()
