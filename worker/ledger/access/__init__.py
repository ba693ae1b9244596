"""Access: tokens, idempotency keys of requests, and the log of actions."""

from worker.ledger.access.access import Access
from worker.ledger.access.actions import Action, NewAction
from worker.ledger.access.once import Once, Result, claim, keep
from worker.ledger.access.tokens import USE_NOTED_EVERY, NewToken, Token

__all__ = ["USE_NOTED_EVERY", "Access", "Action", "NewAction", "NewToken", "Once", "Result", "Token", "claim", "keep"]
