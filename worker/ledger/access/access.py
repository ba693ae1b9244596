"""The façade for who may do what, and what was asked before."""

from worker.ledger.access.long_requests import LongRequests


class Access(LongRequests):
    """See the modules of these parts."""
