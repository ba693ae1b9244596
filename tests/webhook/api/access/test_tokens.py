"""A token lets its bearer in, from wherever it comes, with what its scopes allow, and until it is revoked."""

import logging
from datetime import timedelta

import pytest
from sqlalchemy import event

from tasks.usecases import tokens
from tests.clock import FakeClock
from tests.webhook.api.access.conftest import HERE, Door, bearer
from worker.secrets import configure_logging

pytestmark = pytest.mark.matrix

CHALLENGE = 'Bearer realm="darkroom", error="invalid_token"'


def invalid(door: Door, secret: str, said: str) -> None:
    before = door.rows()
    for response in (door.get(secret=secret), door.post(secret=secret)):
        assert (response.status_code, response.json["code"]) == (401, "token_invalid")
        assert response.headers["WWW-Authenticate"] == CHALLENGE
        assert said in response.json["detail"]
        assert secret not in response.get_data(as_text=True)
    assert door.rows() == before


def test_a_token_lets_its_bearer_in_from_wherever_it_comes(door: Door) -> None:
    """Through a proxy, under the name of the studio's own host, from another machine, and from a page that has it."""
    made = door.token()
    far = {
        "Host": "darkroom.example",
        "X-Forwarded-For": "203.0.113.7",
        "Via": "1.1 proxy",
        "Origin": "https://studio.example",
        "Sec-Fetch-Site": "cross-site",
    }
    there = {"REMOTE_ADDR": "203.0.113.7", "SERVER_NAME": "0.0.0.0"}
    response = door.get(secret=made.secret, headers=far, environ_overrides=there)
    assert response.json == {"id": "gen_1", "caller": "studio", "is_test": False}
    assert door.post(secret=made.secret, headers=far, environ_overrides=there).status_code == 201


def test_a_test_token_says_so(door: Door) -> None:
    made = door.token("trial", is_test=True)
    assert made.secret.startswith("dk_test_")
    assert door.get(secret=made.secret).json["is_test"] is True


def test_a_scope_that_is_missing_is_named(door: Door) -> None:
    reader = door.token("reader", "generations:read", "batches:write").secret
    assert door.get(secret=reader).status_code == 200
    before = door.rows()
    response = door.post(secret=reader)
    assert (response.status_code, response.json["code"]) == (403, "scope_missing")
    assert "this token lacks the scope generations:write" in response.json["detail"]
    assert door.rows() == before


def test_to_write_includes_to_read_and_all_includes_everything(door: Door) -> None:
    for name, scope in (("writer", "generations:write"), ("all", "all")):
        assert door.get(secret=door.token(name, scope).secret).status_code == 200
    assert door.get(secret=door.token("other", "batches:write").secret).status_code == 403


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer  ",
        "dk_live_{secret}",
        "{secret}",
        "Basic {secret}",
        "Token {secret}",
        "Bearer {secret},Bearer {secret}",
        "Bearer {secret} {secret}",
        "Bearer {shorter}",
        "Bearer {secret}x",
        "Bearer {other_case}",
        "Bearer dk_live_\u00e9{secret}",
        "Bearer dk_live_" + "0" * 49,
    ],
)
def test_what_is_no_token_costs_no_query(door: Door, header: str) -> None:
    """Even on this machine: whoever shows a token means to be known by it."""
    secret = door.token().secret
    given = header.format(
        secret=secret, shorter=secret[:-1], other_case=secret.swapcase().replace("DK_LIVE", "dk_live")
    )
    queries = asked(door)
    response = door.get(headers={"Authorization": given.encode().decode("latin-1")})
    assert (response.status_code, response.json["code"]) == (401, "token_invalid")
    assert response.headers["WWW-Authenticate"] == CHALLENGE
    assert not queries


def test_the_scheme_may_be_written_as_it_likes(door: Door) -> None:
    assert door.get(headers={"Authorization": f"bearer   {door.token().secret}"}).status_code == 200


def test_an_unknown_token_is_refused(door: Door) -> None:
    door.token()
    invalid(door, tokens._new_secret("dk_live_"), "this token is unknown")


def test_a_revoked_token_is_refused_within_seconds(door: Door, clock: FakeClock) -> None:
    secret = door.token().secret
    assert door.get(secret=secret).status_code == 200
    tokens.revoke_token(door.here, "studio")
    clock.advance(5)
    invalid(door, secret, "the token 'studio' was revoked")


def test_an_expired_token_is_refused_at_once(door: Door, clock: FakeClock) -> None:
    secret = door.token(expires_in=timedelta(days=1)).secret
    clock.advance(days=1)
    clock.advance(-1)
    assert door.get(secret=secret).status_code == 200
    clock.advance(1)
    invalid(door, secret, "the token 'studio' expired at 2026-11-22 12:00 UTC")


def test_a_clock_that_was_set_back_keeps_no_revoked_token_alive(door: Door, clock: FakeClock) -> None:
    secret = door.token().secret
    assert door.get(secret=secret).status_code == 200
    tokens.revoke_token(door.here, "studio")
    clock.advance(hours=-1)
    invalid(door, secret, "was revoked")


def test_a_token_in_a_url_is_never_accepted(door: Door) -> None:
    secret = door.token().secret
    before = door.rows()
    for response in (
        door.get(f"/v1/things/gen_1?access_token={secret}"),
        door.get(f"/v1/things/gen_1?access_token={secret}", secret=secret),
        door.post(f"/v1/things?access_token={secret}"),
    ):
        assert (response.status_code, response.json["code"]) == (401, "token_in_url")
    assert door.rows() == before


def test_one_who_asks_again_costs_no_query_and_no_write(door: Door) -> None:
    secret = door.token().secret
    queries = asked(door)
    assert door.get(secret=secret).status_code == 200
    first = len(queries)
    assert door.get(secret=secret).status_code == 200
    assert (first > 0, len(queries)) == (True, first)


def test_the_use_of_a_token_is_noted_once_a_minute(door: Door, clock: FakeClock) -> None:
    secret = door.token().secret
    used = []
    for _ in range(8):
        assert door.get(secret=secret).status_code == 200
        used.append(tokens.list_tokens(door.here)[0].token.used_at)
        clock.advance(20)
    assert [used.count(one) for one in dict.fromkeys(used)] == [4, 4]


def test_a_token_is_in_no_log_and_in_no_answer(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("DEBUG")
    secret = door.token().secret
    answers = [
        door.get(f"/v1/things/{secret}", secret=secret),
        door.get(f"/v1/nothing/{secret}", secret=secret),
        door.post(secret=secret, json={"prompt": "crash", secret: 1}),
        door.post(secret=secret, json={"prompt": "crash"}),
        door.client.get("/v1/things/gen_1", base_url=HERE, headers={**bearer(secret), "X-Request-Id": secret}),
    ]
    logging.getLogger("tests").info("got %s", secret)
    logged = capfd.readouterr().err
    assert "dk_live_[redacted]" in logged
    assert secret not in logged
    # What somebody sends as an id is given back to them, in the body alone.
    assert [secret in one.get_data(as_text=True) for one in answers[1:4]] == [False, False, False]


def asked(door: Door) -> list[str]:
    """The statements that the ledger gets from here on."""
    statements: list[str] = []
    event.listen(door.ledger.database.engine, "before_cursor_execute", lambda *facts: statements.append(facts[2]))
    return statements
