"""What comes back: callbacks as they came, and what a callback, a poll or a reply says of an attempt."""

from worker.ledger.outcome.callbacks import CallbackNote, Callbacks, Delivery, StoredCallback
from worker.ledger.outcome.outcomes import News, Outcomes
from worker.ledger.outcome.verdicts import VERDICTS

__all__ = ["VERDICTS", "CallbackNote", "Callbacks", "Delivery", "News", "Outcomes", "StoredCallback"]
