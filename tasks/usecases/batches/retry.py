"""Retries the failures of a batch, all of them or those with certain reasons."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.usecases.batches.show import prices_of
from tasks.usecases.control import Decisions, RetryRequest, check_retry, retry
from tasks.usecases.names import find_batch
from tasks.usecases.selection import Selection
from tasks.usecases.services import LedgerServices
from worker.failures import Category
from worker.generation import State
from worker.pricing import tier_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRetryRequest:
    """`batch`: its name or id. Other fields: as in `RetryRequest`."""

    batch: str
    only: frozenset[Category] = frozenset()
    may_pay_twice: bool = False
    failed_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRetried:
    """`done`: how many, by their new state; `left`: how many were left alone, by reason."""

    batch_id: str
    done: Mapping[State, int]
    left: Mapping[str, int]
    decisions: Decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRetryCheck:
    """What `retry_batch` would do: how many it would resubmit and pay for, and for how many only request new links.

    `awaited`: how many it would leave alone because the provider may still deliver them; `left`: how many for other
    reasons, by reason; `cost`: what the submissions may cost, None without prices.
    """

    submitted: int
    fetched: int
    awaited: int
    left: Mapping[str, int]
    cost: str | None


def check_batch_retry(here: LedgerServices, request: BatchRetryRequest) -> BatchRetryCheck:
    """Check a retry without changing anything. Raises NotFound."""
    batch_id = find_batch(here.ledger, request.batch)
    found = check_retry(
        here,
        RetryRequest(selection=Selection(batch=batch_id), may_pay_twice=request.may_pay_twice, only=request.only),
    )
    failed = [one for one in found.found if one.state is State.FAILED]
    prices = prices_of(here)
    cost = None
    if prices is not None:
        paid = (one for one in failed if not one.is_test)
        cost = prices.text(sum(prices.price(one.provider, one.operation, tier_of(one.request)) for one in paid))
    return BatchRetryCheck(
        submitted=len(failed), fetched=len(found.found) - len(failed), awaited=found.awaited, left=found.left, cost=cost
    )


def retry_batch(here: LedgerServices, request: BatchRetryRequest) -> BatchRetried:
    """Retry its failed and expired generations, a few at a time; safe to repeat. Raises as `retry` does."""
    batch_id = find_batch(here.ledger, request.batch)
    decisions = retry(
        here,
        RetryRequest(
            selection=Selection(batch=batch_id),
            may_pay_twice=request.may_pay_twice,
            only=request.only,
            failed_before=request.failed_before,
        ),
    )
    done = Counter(one.state for one in decisions.generations if one.is_done)
    left = decisions.all_left
    return BatchRetried(batch_id=batch_id, done=done, left=left, decisions=decisions)
