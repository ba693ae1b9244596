"""Retry what failed of a batch, all of it or for some reasons."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.usecases.control import Decisions, RetryRequest, retry
from tasks.usecases.names import find_batch
from tasks.usecases.selection import Selection
from tasks.usecases.services import LedgerServices
from worker.failures import Category
from worker.generation import State


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRetryRequest:
    """`batch`: its name or id. The others: as in `RetryRequest`."""

    batch: str
    only: frozenset[Category] = frozenset()
    may_pay_twice: bool = False
    failed_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRetried:
    """`done`: how many, by their state now; `left`: how many were left alone, by why."""

    batch_id: str
    done: Mapping[State, int]
    left: Mapping[str, int]
    decisions: Decisions


def retry_batch(here: LedgerServices, request: BatchRetryRequest) -> BatchRetried:
    """Retry its failed and expired generations, a few at a time; safe to repeat. Raises as `retry` does."""
    batch_id = find_batch(here.ledger, request.batch)
    decisions = retry(
        here,
        RetryRequest(Selection(batch=batch_id), request.may_pay_twice, request.only, request.failed_before),
    )
    done = Counter(one.state for one in decisions.generations if one.is_done)
    left = decisions.all_left
    return BatchRetried(batch_id=batch_id, done=done, left=left, decisions=decisions)
