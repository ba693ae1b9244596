"""Callbacks as received, and the outcomes of attempts from callbacks, polls and replies."""

from worker.ledger.outcome.callbacks import CallbackNote, Callbacks, Delivery, StoredCallback
from worker.ledger.outcome.outcomes import News, Outcomes
from worker.ledger.outcome.verdicts import VERDICTS

__all__ = ["VERDICTS", "CallbackNote", "Callbacks", "Delivery", "News", "Outcomes", "StoredCallback"]
