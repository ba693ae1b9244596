"""The façade for permissions, the log of actions, and repeated requests."""

from worker.ledger.access.actions import Actions
from worker.ledger.access.long_requests import LongRequests
from worker.ledger.access.replays import Replays
from worker.ledger.access.sandbox_tokens import OfTests
from worker.ledger.access.sessions import Sessions
from worker.ledger.access.tokens import Tokens
from worker.ledger.access.users import Users


class Access(Tokens, Users, Sessions, Actions, LongRequests, Replays, OfTests):
    """See the module of each base class."""
