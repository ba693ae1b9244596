"""API tokens: only their SHA-256 is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, or_, select, update

from worker.errors import NotFound, RequestInvalid
from worker.ledger.changes import new_id
from worker.ledger.database import Part
from worker.ledger.schema import CleanText, UtcDateTime, api_tokens
from worker.ledger.statements import NOW, Query, columns_of, insert_ignoring

#: the precision of a token's last use
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """`sha256`: of the whole token; `hint`: its first characters; `rate`: None to use the setting."""

    name: str
    sha256: str
    hint: str
    scopes: Sequence[str]
    is_test: bool = False
    rate: str | None = None
    expires_at: datetime | None = None
    created_by: str


class Token(NamedTuple):
    """A stored token; `used_at` is exact to a minute."""

    id: str
    name: str
    hint: str
    scopes: Sequence[str]
    is_test: bool
    rate: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None


_t = api_tokens.c
_TOKENS = select(*columns_of(api_tokens, Token)).order_by(_t.id)
_ALL = Query(Token, _TOKENS)
_NOT_REVOKED = Query(Token, _TOKENS.where(_t.revoked_at.is_(None)))
_WITH_DIGEST = Query(Token, _TOKENS.where(_t.sha256 == bindparam("digest", type_=CleanText())))
_NAMED = (_t.name == bindparam("named", type_=CleanText()), _t.revoked_at.is_(None))
_CALLED = Query(Token, _TOKENS.where(*_NAMED).with_for_update())
_REVOKE = update(api_tokens).where(*_NAMED).values(revoked_at=NOW)
_RETIRE = update(api_tokens).where(*_NAMED, _t.expires_at <= NOW).values(revoked_at=_t.expires_at)
_NOTE_USE = (
    update(api_tokens)
    .where(
        _t.id == bindparam("token", type_=CleanText()),
        # A time in the future was written by a wrong clock.
        or_(_t.used_at.is_(None), _t.used_at < bindparam("before", type_=UtcDateTime()), _t.used_at > NOW),
    )
    .values(used_at=NOW)
)


class Tokens(Part):
    def create_token(self, new: NewToken) -> Token:
        """Create a token. An expired token's name is free. Raises RequestInvalid if a valid token has this name."""
        now = self._database.clock()
        row = {
            "id": new_id("token", now),
            "name": new.name,
            "sha256": new.sha256,
            "hint": new.hint,
            "scopes": list(new.scopes),
            "is_test": new.is_test,
            "rate": new.rate,
            "created_at": now,
            "created_by": new.created_by,
            "expires_at": new.expires_at,
        }
        with self._database.write() as connection:
            connection.execute(_RETIRE, {"named": new.name, "now": now})
            if not connection.execute(insert_ignoring(connection, api_tokens), row).rowcount:
                raise RequestInvalid(
                    f"there is already a valid token {new.name!r}: choose another name, or revoke that token "
                    "first (`darkroom token revoke`)"
                )
            made = _CALLED.first(connection, named=new.name)
        assert made is not None, "it was inserted in this transaction"  # noqa: S101
        return made

    def tokens(self, *, with_revoked: bool = False) -> list[Token]:
        """Return all tokens, including expired ones, oldest first."""
        with self._database.read() as connection:
            return (_ALL if with_revoked else _NOT_REVOKED).all(connection)

    def token_of(self, sha256: str) -> Token | None:
        """Return the token with this digest, even if it has expired or was revoked."""
        with self._database.read() as connection:
            return _WITH_DIGEST.first(connection, digest=sha256)

    def revoke_token(self, name: str) -> Token:
        """Revoke the token with this name. Raises NotFound."""
        now = self._database.clock()
        with self._database.write() as connection:
            found = _CALLED.first(connection, named=name)
            if found is None:
                raise NotFound(f"there is no token {name!r} to revoke; `darkroom token list` shows all")
            connection.execute(_REVOKE, {"named": name, "now": now})
        return found._replace(revoked_at=now)

    def note_token_use(self, token_id: str) -> None:
        """Record that a token is in use, unless that was recorded within the last minute."""
        now = self._database.clock()
        with self._database.write(alone=True) as connection:
            connection.execute(_NOTE_USE, {"token": token_id, "now": now, "before": now - USE_NOTED_EVERY})
