"""Approvals as read from the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select

from worker.ledger.schema import ApprovalState, CleanText, approvals
from worker.ledger.statements import Query, columns_of


class Approval(NamedTuple):
    """`images`: the numbers to choose from; `picked`: None until it is decided."""

    id: str
    generation_id: str
    batch_id: str | None
    step: str
    state: ApprovalState
    task: str | None
    queue: str | None
    images: Sequence[int]
    picked: Sequence[int] | None
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    why: str | None


COLUMNS = columns_of(approvals, Approval)
ID = bindparam("of", type_=CleanText())
ONE = Query(Approval, select(*COLUMNS).where(approvals.c.id == ID))


def typed(row: Approval) -> Approval:
    return row._replace(state=ApprovalState(row.state))
