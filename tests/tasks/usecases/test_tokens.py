"""A token is random, carries its own checksum, and is kept nowhere."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import String, cast, select

from tasks.usecases.tokens import (
    Scope,
    TokenRequest,
    TokenState,
    allows,
    create_token,
    is_well_formed,
    list_tokens,
    revoke_token,
)
from tests.clock import FakeClock
from worker.errors import NotFound, RequestInvalid
from worker.ledger.schema import metadata
from worker.secrets import redact
from worker.services import Services


def request(name: str = "studio", *scopes: str, **facts: object) -> TokenRequest:
    return TokenRequest(name=name, scopes=scopes or ("all",), by="somebody on studio-7", **facts)  # type: ignore[arg-type]


def test_a_token_has_a_prefix_that_scanners_find_and_the_randomness_of_32_bytes(here: Services):
    live, test = (create_token(here, request(name, is_test=is_test)) for name, is_test in (("a", False), ("b", True)))
    assert re.fullmatch(r"dk_live_[0-9A-Za-z]{49}", live.secret)
    assert re.fullmatch(r"dk_test_[0-9A-Za-z]{49}", test.secret)
    assert 62**43 > 2**256
    assert live.listed.token.hint == live.secret[:12]
    assert redact(live.secret) == "dk_live_[redacted]"
    assert redact(live.listed.token.hint) == live.listed.token.hint


def test_a_token_is_nowhere_in_the_ledger(here: Services):
    secret = create_token(here, request()).secret
    with here.ledger.database.read() as connection:
        texts = [
            str(row)
            for table in metadata.sorted_tables
            for row in connection.execute(select(*(cast(column, String) for column in table.columns)))
        ]
    assert [text for text in texts if "studio" in text]
    assert not [text for text in texts if secret in text or secret[13:] in text]


def test_each_mistyped_character_is_noticed_without_a_query(here: Services):
    secret = create_token(here, request()).secret
    assert is_well_formed(secret)
    for place in range(8, len(secret)):
        other = "x" if secret[place] != "x" else "y"
        assert not is_well_formed(f"{secret[:place]}{other}{secret[place + 1 :]}")
    assert not is_well_formed(secret.replace("dk_live_", "dk_test_"))


@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        (("generation:write",), "unknown scope 'generation:write'; did you mean generations:write? Expected one of"),
        (("Generations:Read",), "did you mean generations:read?"),
        (("spend",), "did you mean spend:read?"),
        (("ALL",), "did you mean all?"),
        (("*",), "Expected one of generations:read, "),
        (("generations:write", "wrong"), "unknown scope 'wrong'; Expected one of"),
    ],
)
def test_an_unknown_scope_is_answered_with_the_right_one(here: Services, scopes: tuple[str, ...], said: str):
    with pytest.raises(RequestInvalid) as refused:
        create_token(here, request("studio", *scopes))
    assert said in str(refused.value)
    assert list_tokens(here) == []


def test_scopes_are_kept_once_and_in_order(here: Services):
    made = create_token(here, request("a", "spend:read", "generations:write", "spend:read"))
    assert made.listed.token.scopes == ["generations:write", "spend:read"]
    assert create_token(here, request("b", "all", "spend:read")).listed.token.scopes == ["all"]


def test_to_write_includes_to_read_and_nothing_else():
    assert {one for one in Scope if allows(["generations:write"], one)} == {"generations:write", "generations:read"}
    assert {one for one in Scope if allows(["spend:read"], one)} == {"spend:read"}
    assert {one for one in Scope if allows(["all"], one)} == set(Scope)
    assert not any(allows([], one) for one in Scope)


@pytest.mark.parametrize(
    "name", ["", " studio", "studio ", "a\nb", "a\x1b[2J", "x" * 101, "local", "dk_live_Ab3d", "\u202estudio"]
)
def test_a_name_is_a_plain_word_for_people(here: Services, name: str):
    with pytest.raises(RequestInvalid, match="name"):
        create_token(here, request(name))


@pytest.mark.parametrize("rate", ["fast", "", "100", "0/second", "-1/second", "1000000/day", "1/eon"])
def test_a_rate_is_a_number_per_time(here: Services, rate: str):
    with pytest.raises(RequestInvalid, match="is not a rate"):
        create_token(here, request(rate=rate))


@pytest.mark.parametrize("rate", ["100/second", "5 per 2 minutes", "1000/hour", "1/day"])
def test_a_rate_is_kept_as_it_was_written(here: Services, rate: str):
    assert create_token(here, request(rate=rate)).listed.token.rate == rate


def test_a_token_expires_to_the_second(here: Services):
    here.ledger.database.clock = clock = FakeClock()
    create_token(here, request(expires_in=timedelta(hours=1)))
    states = []
    for seconds in (3599, 1):
        clock.advance(seconds)
        states.append(list_tokens(here)[0].state)
    assert states == [TokenState.VALID, TokenState.EXPIRED]


def test_who_revokes_by_a_wrong_name_hears_the_right_one(here: Services):
    create_token(here, request())
    with pytest.raises(NotFound, match=r"there is no token 'studoi' .*; did you mean 'studio'\?"):
        revoke_token(here, "studoi")
    assert revoke_token(here, "studio").state is TokenState.REVOKED
