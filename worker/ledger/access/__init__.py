"""Access: tokens, people and their sessions, idempotency keys of requests, and the log of actions."""

from worker.ledger.access.access import Access
from worker.ledger.access.actions import Action, NewAction
from worker.ledger.access.once import Once, Result, claim, keep
from worker.ledger.access.sessions import IDLE, LONGEST, SEEN_EVERY, NewSession, Session
from worker.ledger.access.tokens import USE_NOTED_EVERY, NewToken, Token
from worker.ledger.access.users import NewUser, Password, Role, User

__all__ = [
    "IDLE",
    "LONGEST",
    "SEEN_EVERY",
    "USE_NOTED_EVERY",
    "Access",
    "Action",
    "NewAction",
    "NewSession",
    "NewToken",
    "NewUser",
    "Once",
    "Password",
    "Result",
    "Role",
    "Session",
    "Token",
    "User",
    "claim",
    "keep",
]
