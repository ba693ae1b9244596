"""Login sessions: only the SHA-256 of each cookie is kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, text, update

from worker.ledger.database import Part
from worker.ledger.schema import PRESENT, CleanText, UtcDateTime, sessions, users
from worker.ledger.statements import NOW, Query, insert_ignoring

#: how long a session lasts in constant use, and how long if idle
LONGEST, IDLE = timedelta(days=7), timedelta(hours=12)
#: the precision of a session's last use
SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """`sha256`: of the cookie; `password_hash`: the hash against which the password was checked."""

    sha256: str
    user_id: str
    password_hash: str


class Session(NamedTuple):
    """Who is logged in; `seen_at` is exact to a minute."""

    name: str
    role: str
    created_at: datetime
    seen_at: datetime


class _Checked(NamedTuple):
    id: str


_s, _u = sessions.c, users.c
_THIS = _s.sha256 == bindparam("digest", type_=CleanText())
_OPEN = (_THIS, _s.ended_at.is_(None))
_STILL = Query(
    _Checked,
    select(_u.id)
    .where(_u.id == bindparam("user", type_=CleanText()), text(PRESENT))
    .where(_u.password_hash == bindparam("password", type_=CleanText()))
    .with_for_update(),
)
# A session that expires after the longest possible time was created by a wrong clock.
_VALID = Query(
    Session,
    select(_u.name, _u.role, _s.created_at, _s.seen_at)
    .join_from(sessions, users, _u.id == _s.user_id)
    .where(*_OPEN, _s.expires_at > NOW, _s.expires_at <= bindparam("latest", type_=UtcDateTime()))
    .where(_s.seen_at > bindparam("idle", type_=UtcDateTime())),
)
_SEEN = (
    update(sessions)
    .where(*_OPEN, or_(_s.seen_at < bindparam("before", type_=UtcDateTime()), _s.seen_at > NOW))
    .values(seen_at=NOW)
)
_LOGGED_IN = update(users).where(_u.id == bindparam("user", type_=CleanText())).values(logged_in_at=NOW)
_END = update(sessions).where(*_OPEN).values(ended_at=NOW)
END_ALL = (
    update(sessions)
    .where(_s.user_id == bindparam("user", type_=CleanText()), _s.ended_at.is_(None))
    .values(ended_at=NOW)
)


class Sessions(Part):
    def begin_session(self, new: NewSession) -> bool:
        """Log a user in; return False if they were removed, or their password changed after it was checked."""
        now = self._database.clock()
        row = {
            "sha256": new.sha256,
            "user_id": new.user_id,
            "created_at": now,
            "expires_at": now + LONGEST,
            "seen_at": now,
        }
        with self._database.write() as connection:
            if _STILL.first(connection, user=new.user_id, password=new.password_hash) is None:
                return False
            connection.execute(insert_ignoring(connection, sessions), row)
            connection.execute(_LOGGED_IN, {"user": new.user_id, "now": now})
        return True

    def session_of(self, sha256: str) -> Session | None:
        """Return who is logged in with this cookie, or None."""
        now = self._database.clock()
        with self._database.read() as connection:
            return _VALID.first(connection, digest=sha256, now=now, latest=now + LONGEST, idle=now - IDLE)

    def note_session_use(self, sha256: str) -> None:
        """Record that a session is in use, unless that was recorded within the last minute."""
        now = self._database.clock()
        with self._database.write(alone=True) as connection:
            connection.execute(_SEEN, {"digest": sha256, "now": now, "before": now - SEEN_EVERY})

    def end_session(self, sha256: str) -> None:
        """Log out: the cookie is no longer valid."""
        with self._database.write(alone=True, under_way=True) as connection:
            connection.execute(_END, {"digest": sha256, "now": self._database.clock()})
