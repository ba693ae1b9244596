"""What failed only because somebody lost patience is looked at again: the picture may have come after all."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, Table, delete, func, select, update

from worker.generation import Outcome, State
from worker.ledger.statements import IDS, NOW, insert_ignoring, select_in
from worker.ledger.tables import attempts, generations, metadata
from worker.ledger.types import CleanText, UtcDateTime

#: after the failure
LOOKS = (timedelta(minutes=10), timedelta(minutes=60))

second_looks = Table(
    "second_looks",
    metadata,
    Column("attempt_id", CleanText, ForeignKey("attempts.id"), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("looks", Integer, nullable=False),
)
_s, _a, _g = second_looks.c, attempts.c, generations.c
Index("ix_second_looks_due", _s.at)

DUE = select(_s.attempt_id).where(_s.at <= NOW)

#: Ace Data Cloud and Kie.ai have codes for it, midjourney-proxy and OhMyGPT words; `unknown_task` is our own word for
#: what its provider did not know for an hour
_CODES = frozenset({"timeout", "upstream_timeout", "408", "504", "unknown_task"})
_WORDS = re.compile(r"time[ _-]?out|timed[ _-]?out|超时", re.IGNORECASE)
#: where a success is still of use and nothing else is under way
_WAITING = frozenset({State.FAILED, State.QUEUED, State.CANCELLED})


_AWAITED = (
    select(_a.generation_id, func.min(_s.at).label("at"))
    .join(attempts, _a.id == _s.attempt_id)
    .where(_a.generation_id.in_(IDS), _a.state == "failed")
    .group_by(_a.generation_id)
)


def is_time_out(outcome: Outcome) -> bool:
    """Whether a failure says that the time was over, and not that anything went wrong."""
    return outcome.reason in _CODES or _WORDS.search(f"{outcome.reason} {outcome.message}") is not None


def look_again(connection: Connection, attempt_id: str, failed_at: datetime) -> None:
    row = {"attempt_id": attempt_id, "at": failed_at + LOOKS[0], "looks": 0}
    connection.execute(insert_ignoring(connection, second_looks), [row])


def awaited(connection: Connection, generation_ids: Sequence[str]) -> dict[str, datetime]:
    """Those that their provider may still deliver, and when each is looked at next."""
    return {row.generation_id: row.at for row in select_in(connection, _AWAITED, generation_ids)}


def hold_due(connection: Connection, now: datetime, limit: int, until: datetime) -> list[Any]:
    """Those to look at now, held `until` then, with the columns of `Silent` and when each has failed."""
    due = connection.execute(
        select(
            _s.attempt_id, _s.looks, _a.provider, _a.account, _a.task_id, _a.sent_at, _a.settled_at,
            _a.state.label("attempt"), _g.id.label("generation_id"), _g.state,
        )
        .join(attempts, _a.id == _s.attempt_id)
        .join(generations, _g.id == _a.generation_id)
        .where(_s.at <= now)
        .order_by(_s.at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=second_looks)
    ).all()  # fmt: skip
    useful = [row for row in due if row.attempt == "failed" and row.state in _WAITING and row.task_id]
    held = [row.attempt_id for row in useful]
    over = [row.attempt_id for row in due if row.attempt_id not in held]
    if held:
        hold = update(second_looks).where(_s.attempt_id.in_(IDS)).values(at=until, looks=_s.looks + 1)
        connection.execute(hold, {"ids": held})
    if over:
        connection.execute(delete(second_looks).where(_s.attempt_id.in_(IDS)), {"ids": over})
    return useful


def next_look(failed_at: datetime, now: datetime) -> datetime | None:
    """None: the one that is taken now is the last."""
    return next((failed_at + after for after in LOOKS if failed_at + after > now), None)


def set_next_look(connection: Connection, attempt_id: str, looks: int, at: datetime | None) -> None:
    """Unless somebody else looks by now; None: no more."""
    mine = (_s.attempt_id == attempt_id, _s.looks == looks)
    next_one = delete(second_looks) if at is None else update(second_looks).values(at=at)
    connection.execute(next_one.where(*mine))
