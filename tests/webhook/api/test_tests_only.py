"""What a test token creates is a test, whichever path creates it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from tasks.usecases.tokens import TokenRequest, create_token
from webhook.api.app import create_app
from worker.ledger import Ledger
from worker.services import Services


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def here(services_for: Callable[..., Services]) -> Services:
    return services_for(darkroom_sandbox_url="http://127.0.0.1:9000")


@pytest.fixture
def client(here: Services, rung: list[str]) -> FlaskClient:
    return create_app(here).test_client()


@pytest.fixture
def bearer(here: Services) -> Mapping[str, str]:
    made = create_token(here, TokenRequest(name="trial", scopes=["all"], is_test=True, by="studio"))
    return {"Authorization": f"Bearer {made.secret}", "Idempotency-Key": "order-7"}


FOX = {"prompt": "a red fox"}


@pytest.mark.parametrize(
    ("path", "body", "media"),
    [
        ("generations", FOX, "application/json"),
        ("generations", {"generations": [FOX, FOX], "batch": "shop"}, "application/json"),
        ("generations", {"generations": [FOX, FOX]}, "application/json"),
        ("batches", {"name": "shop", "generations": [FOX, FOX]}, "application/json"),
        ("batches?name=shop", "prompt\na red fox\na vase\n", "text/csv"),
    ],
)
def test_a_test_token_creates_tests_and_nothing_that_is_paid_for(
    client: FlaskClient, ledger: Ledger, bearer: Mapping[str, str], path: str, body: Any, media: str
) -> None:
    data = body if isinstance(body, str) else json.dumps(body)
    response = client.post(f"/v1/{path}", data=data, content_type=media, headers=bearer)
    assert response.status_code == 201, response.json
    created = ledger.generations.page(limit=10)
    assert created
    assert all(one.is_test for one in created)
    batches = {one.batch_id for one in created if one.batch_id}
    assert all(ledger.generations.batch_facts(one).name.endswith(" (test)") for one in batches)
