"""The façade for who may do what, who did what, and what was asked before."""

from worker.ledger.access.actions import Actions
from worker.ledger.access.long_requests import LongRequests
from worker.ledger.access.replays import Replays
from worker.ledger.access.sandbox_tokens import OfTests
from worker.ledger.access.sessions import Sessions
from worker.ledger.access.tokens import Tokens
from worker.ledger.access.users import Users


class Access(Tokens, Users, Sessions, Actions, LongRequests, Replays, OfTests):
    """See the modules of these parts."""
