"""Each token has its rate; wrong tokens are limited by address, and no neighbour is locked out by them."""

import pytest

from tasks.usecases import tokens
from tests.webhook.api.access.conftest import Door
from webhook.api import app as private
from webhook.api.rates import GUESSES
from worker.services import Services
from worker.settings.settings import Settings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_token_has_the_rate_that_it_was_given(door: Door) -> None:
    secret = door.token(rate="2/day").secret
    first, second, third = (door.post(secret=secret) for _ in range(3))
    assert [one.headers["RateLimit-Remaining"] for one in (first, second)] == ["1", "0"]
    assert (third.status_code, third.json["code"]) == (429, "too_many_requests")
    assert third.json["detail"].startswith("this token may send 2 per 1 day: repeat the request in ")
    assert 0 < int(third.headers["Retry-After"]) <= 86_400
    assert third.headers["Retry-After"] == third.headers["RateLimit-Reset"]
    assert (third.headers["RateLimit-Limit"], third.headers["RateLimit-Remaining"]) == ("2", "0")
    # What was refused is not carried out, and not in the log of actions.
    assert (door.rows()["generations"], door.rows()["actions"]) == (2, 2)


def test_tokens_have_a_rate_each(door: Door) -> None:
    first, second = (door.token(name, rate="1/day").secret for name in ("studio", "shop"))
    assert [door.get(secret=one).status_code for one in (first, second, first, second)] == [200, 200, 429, 429]


def test_without_its_own_a_token_has_the_rate_of_the_setting(door: Door) -> None:
    settings = Settings(database_url=door.ledger.database.url, darkroom_api_rate="1 per 2 hours")
    services = Services(settings, door.clock)
    services.__dict__["ledger"] = door.ledger
    door.app = private.create_app(services)
    secret, own = door.token().secret, door.token("shop", rate="9/day").secret
    assert [door.get(secret=secret).status_code for _ in range(2)] == [200, 429]
    assert [door.get(secret=own).status_code for _ in range(2)] == [200, 200]
    # Whoever uses this machine is not counted.
    assert [door.get().status_code for _ in range(3)] == [200, 200, 200]


def test_wrong_tokens_are_limited_by_address_and_right_ones_are_not(door: Door) -> None:
    right = door.token().secret

    def wrong(address: str = "203.0.113.7") -> int:
        other = tokens._new_secret("dk_live_")
        return door.get(secret=other, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [wrong() for _ in range(GUESSES + 1)] == [*[401] * GUESSES, 429]
    assert door.get(secret="anything", environ_overrides={"REMOTE_ADDR": "203.0.113.7"}).status_code == 429
    # Behind the same proxy, others go on with theirs; and another address has guesses of its own.
    assert door.get(secret=right, environ_overrides={"REMOTE_ADDR": "203.0.113.7"}).status_code == 200
    assert wrong("203.0.113.8") == 401
    assert door.get().status_code == 200


def test_one_machine_has_a_whole_network_of_ipv6(door: Door) -> None:
    def wrong(address: str) -> int:
        return door.get(secret="wrong", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert {wrong(f"2001:db8::{number:x}") for number in range(GUESSES)} == {401}
    assert wrong("2001:db8::ffff:1") == 429
    assert wrong("2001:db8:0:1::1") == 401
