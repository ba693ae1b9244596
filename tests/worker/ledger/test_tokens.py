"""Tokens are found by their digest alone; a name belongs to one valid token at a time."""

from datetime import timedelta

import pytest

from tests.clock import NOON, FakeClock
from worker.errors import NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.ledger.access import NewToken, Token


def new(name: str = "studio", digest: str = "a", **facts: object) -> NewToken:
    values = {"hint": "dk_live_Ab3d", "scopes": ["generations:write"], "created_by": "somebody", **facts}
    return NewToken(name=name, sha256=digest * 64, **values)  # type: ignore[arg-type]


def test_a_token_is_found_by_its_digest_with_all_that_was_said_of_it(ledger: Ledger):
    expires_at = NOON + timedelta(days=90)
    made = ledger.access.create_token(new(is_test=True, rate="5/minute", expires_at=expires_at))
    assert made == Token(
        id=made.id,
        name="studio",
        hint="dk_live_Ab3d",
        scopes=["generations:write"],
        is_test=True,
        rate="5/minute",
        created_at=NOON,
        created_by="somebody",
        expires_at=expires_at,
        used_at=None,
        revoked_at=None,
    )
    assert made.id.startswith("token_")
    assert ledger.access.token_of("a" * 64) == made
    assert ledger.access.token_of("b" * 64) is None


def test_a_name_is_taken_until_its_token_is_revoked(ledger: Ledger):
    ledger.access.create_token(new())
    with pytest.raises(RequestInvalid, match="there is already a valid token 'studio'"):
        ledger.access.create_token(new(digest="b"))
    ledger.access.revoke_token("studio")
    second = ledger.access.create_token(new(digest="b"))
    assert ledger.access.tokens() == [second]
    assert [one.revoked_at for one in ledger.access.tokens(with_revoked=True)] == [NOON, None]


def test_an_expired_token_gives_up_its_name_and_is_not_expired_before(ledger: Ledger, clock: FakeClock):
    ledger.access.create_token(new(expires_at=NOON + timedelta(days=1)))
    clock.advance(days=1)
    clock.advance(-1)
    with pytest.raises(RequestInvalid):
        ledger.access.create_token(new(digest="b"))
    clock.advance(1)
    ledger.access.create_token(new(digest="b"))
    first, second = ledger.access.tokens(with_revoked=True)
    assert (first.revoked_at, second.revoked_at) == (first.expires_at, None)


def test_a_revoked_token_is_still_known_as_such_and_is_revoked_once(ledger: Ledger, clock: FakeClock):
    ledger.access.create_token(new())
    clock.advance(10)
    revoked = ledger.access.revoke_token("studio")
    assert revoked.revoked_at == clock()
    assert ledger.access.token_of("a" * 64) == revoked
    with pytest.raises(NotFound, match="there is no token 'studio' to revoke"):
        ledger.access.revoke_token("studio")


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(ledger: Ledger, clock: FakeClock):
    made = ledger.access.create_token(new())
    seen = []
    for seconds in (0, 59, 2):
        clock.advance(seconds)
        ledger.access.note_token_use(made.id)
        seen.append(ledger.access.tokens()[0].used_at)
    assert seen == [NOON, NOON, NOON + timedelta(seconds=61)]


def test_a_use_that_a_wrong_clock_has_noted_is_corrected(ledger: Ledger, clock: FakeClock):
    made = ledger.access.create_token(new())
    clock.advance(days=3)
    ledger.access.note_token_use(made.id)
    clock.advance(days=-3)
    ledger.access.note_token_use(made.id)
    assert ledger.access.tokens()[0].used_at == NOON
