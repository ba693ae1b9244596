"""The log of actions: every requested write, recorded before it is carried out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select

from worker.ledger.changes import new_id
from worker.ledger.database import Part
from worker.ledger.schema import CleanText, actions
from worker.ledger.statements import LIMIT, Query, columns_of, update_row


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAction:
    """`door`: the front door used, such as `api`; `subject`: the id of the object acted on, if it already exists."""

    door: str
    actor: str
    action: str
    subject: str | None = None
    request_id: str | None = None


class Action(NamedTuple):
    """`status`: the HTTP status of the response; None while the action is in progress, or if its process died."""

    id: str
    at: datetime
    door: str
    actor: str
    action: str
    subject: str | None
    status: int | None
    request_id: str | None


_a = actions.c
_NEWEST = select(*columns_of(actions, Action)).order_by(_a.id.desc()).limit(LIMIT)
_ALL = Query(Action, _NEWEST)
_OF_ACTOR = Query(Action, _NEWEST.where(_a.actor == bindparam("named", type_=CleanText())))
# There is no index on subjects: few actions are more recent than a batch that is still of interest.
_latest = _NEWEST.subquery()
_ABOUT = Query(Action, select(_latest).where(_latest.c.subject == bindparam("subject", type_=CleanText())))
_LOOKED_AT = 5000
_INSERT = actions.insert()


class Actions(Part):
    def record_action(self, new: NewAction) -> str:
        """Record an action that is about to be carried out; return its id."""
        now = self._database.clock()
        action_id = new_id("action", now)
        row = {
            "id": action_id,
            "at": now,
            "door": new.door,
            "actor": new.actor,
            "action": new.action,
            "subject": new.subject,
            "request_id": new.request_id,
        }
        with self._database.write(alone=True) as connection:
            connection.execute(_INSERT, row)
        return action_id

    def record_answer(self, action_id: str, status: int, subject: str | None) -> None:
        """Record the response to an action, and the action's subject."""
        with self._database.write(alone=True, under_way=True) as connection:
            update_row(connection, actions, {"id": action_id}, status=status, subject=subject)

    def actions(self, actor: str | None = None, limit: int = 50) -> Sequence[Action]:
        """Return actions, newest first; only those by `actor` if given."""
        with self._database.read() as connection:
            if actor is None:
                return _ALL.all(connection, limit=limit)
            return _OF_ACTOR.all(connection, limit=limit, named=actor)

    def actions_about(self, subject: str) -> Sequence[Action]:
        """Return recent actions on this subject, newest first."""
        with self._database.read() as connection:
            return _ABOUT.all(connection, limit=_LOOKED_AT, subject=subject)
