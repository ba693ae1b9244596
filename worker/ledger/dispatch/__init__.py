"""Dispatch: capacity, rate limits and circuit breakers of accounts, and fairness between batches."""

from worker.ledger.dispatch.account_status import AccountStatus, Slowed, Stranded
from worker.ledger.dispatch.accounts import LONGEST_BACKOFF, Answer, answer_of, backoff, note_answers
from worker.ledger.dispatch.dispatching import Dispatch
from worker.ledger.dispatch.failover import LONG, Candidate, ProviderMove
from worker.ledger.dispatch.pacing import LONGEST_PAUSE, SLACK, Limits

__all__ = [
    "LONG",
    "LONGEST_BACKOFF",
    "LONGEST_PAUSE",
    "SLACK",
    "AccountStatus",
    "Answer",
    "Candidate",
    "Dispatch",
    "Limits",
    "ProviderMove",
    "Slowed",
    "Stranded",
    "answer_of",
    "backoff",
    "note_answers",
]
