"""Rechecks of generations that failed with a time-out: the result may have arrived after all."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from worker.generation import AttemptState, Outcome, State
from worker.ledger.schema import attempts, generations
from worker.ledger.statements import IDS, Query

#: when to recheck, counted from the failure
LOOKS = (timedelta(minutes=10), timedelta(minutes=60))

#: Ace Data Cloud and Kie.ai report codes, midjourney-proxy and OhMyGPT words; `unknown_task` is our own code for a task
#: that its provider did not know for an hour
_CODES = frozenset({"timeout", "upstream_timeout", "408", "504", "unknown_task"})
_WORDS = re.compile(r"time[ _-]?out|timed[ _-]?out|超时", re.IGNORECASE)


class _Awaited(NamedTuple):
    generation_id: str
    at: datetime


_a, _g = attempts.c, generations.c
# The ids restrict the same table as the state, and no partial index fits. With statistics from before many failures,
# PostgreSQL would expect no rows in that state, and read all of them for every few ids.
_AWAITED = Query(
    _Awaited,
    select(_a.generation_id, func.min(_a.poll_at).label("at"))
    .join(generations, _g.id == _a.generation_id)
    .where(_g.id.in_(IDS), _g.state == State.FAILED, _a.state == AttemptState.FAILED)
    .group_by(_a.generation_id)
    .having(func.min(_a.poll_at).is_not(None)),
)


def is_time_out(outcome: Outcome) -> bool:
    """Return whether a failure is only a time-out."""
    return outcome.reason in _CODES or _WORDS.search(f"{outcome.reason} {outcome.message}") is not None


def awaited(connection: Connection, generation_ids: Sequence[str]) -> dict[str, datetime]:
    """Return failed generations whose provider may still deliver them, with the time of the next recheck."""
    return {row.generation_id: row.at for row in _AWAITED.each(connection, generation_ids)}


def next_look(failed_at: datetime, now: datetime) -> datetime | None:
    """The time of the next recheck; None: the current one is the last."""
    return next((failed_at + after for after in LOOKS if failed_at + after > now), None)
