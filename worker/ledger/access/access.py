"""The façade for who may do what, and what was asked before."""

from worker.ledger.access.long_requests import LongRequests
from worker.ledger.access.sandbox_tokens import OfTests


class Access(LongRequests, OfTests):
    """See the modules of these parts."""
