"""Submissions from claim to reply: attempts, polling, and unconfirmed submissions."""

from worker.ledger.submission.attempts import Attempt, Attempts, submit_again
from worker.ledger.submission.durations import LONGEST, learn
from worker.ledger.submission.polling import Silent
from worker.ledger.submission.rechecks import LOOKS, awaited, is_time_out
from worker.ledger.submission.submissions import Claim, Submissions, Submitted
from worker.ledger.submission.unconfirmed import Decision, Unclear, UnconfirmedAges

__all__ = [
    "LONGEST",
    "LOOKS",
    "Attempt",
    "Attempts",
    "Claim",
    "Decision",
    "Silent",
    "Submissions",
    "Submitted",
    "Unclear",
    "UnconfirmedAges",
    "awaited",
    "is_time_out",
    "learn",
    "submit_again",
]
