"""What the requests of one process share."""

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
    """`waiting`: those who wait for the end of a generation; `waits`: what holds up the whole pipeline.

    `snapshots`: generations, each asked for by itself; `scrapes`: the metrics; `shutdown`: what is ended when the
    process is to stop.
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
