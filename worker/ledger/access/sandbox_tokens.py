"""Whether any client may currently submit tests over HTTP."""

from sqlalchemy import literal, select, text

from worker.ledger.database import Part
from worker.ledger.schema import VALID, api_tokens
from worker.ledger.statements import NOW

_t = api_tokens.c
_ANY = (
    select(literal(1)).where(text(VALID), _t.is_test, _t.expires_at.is_(None) | (_t.expires_at > NOW)).limit(1)
)  # fmt: skip


class OfTests(Part):
    def has_test_token(self) -> bool:
        """Return whether any test token is currently valid."""
        with self._database.read() as connection:
            return connection.execute(_ANY, {"now": self._database.clock()}).first() is not None
