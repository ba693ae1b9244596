"""The façade for who may do what, and what was asked before."""

from worker.ledger.access.long_requests import LongRequests
from worker.ledger.access.replays import Replays


class Access(LongRequests, Replays):
    """See the modules of these parts."""
