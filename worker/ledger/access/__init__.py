"""Access: idempotency keys of requests."""

from worker.ledger.access.access import Access
from worker.ledger.access.once import Once, Result, claim, keep

__all__ = ["Access", "Once", "Result", "claim", "keep"]
