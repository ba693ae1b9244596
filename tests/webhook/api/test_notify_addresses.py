"""`notify` over HTTP: per item, for all of a request, of a batch and of a follow-up; and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.factories import archived
from tests.worker.subscribers.test_standard_webhooks import SECRET
from webhook.api.app import create_app
from webhook.api.models.problem import Problem
from worker.ledger import Ledger
from worker.services import Services
from worker.subscribers import NotifyAddress

TOKEN = "token-of-the-shop"
URL = f"https://shop.example.com/hooks/{TOKEN}?order=17"
CRM = f"https://crm.example.com/in/{TOKEN}"
PRIVATE = f"https://10.0.0.7/{TOKEN}"
KEY = {"Idempotency-Key": "order-7"}
FOX = {"prompt": "a fox"}
ROWS = [{"key": "1", "prompt": "a fox"}]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def client(services_for: Callable[..., Services], rung: list[str]) -> FlaskClient:
    return create_app(services_for(darkroom_notify_secret=SECRET)).test_client()


def post(client: FlaskClient, body: Any, path: str = "generations", headers: dict[str, str] | None = None) -> Any:
    answer = client.post(f"/v1/{path}", json=body, headers=headers or KEY)
    assert TOKEN not in answer.text
    return answer


def given(ledger: Ledger, subject: str) -> str | None:
    found = ledger.events.notify_address(subject)
    return found and found.url


def refused(answer: Any) -> tuple[str | None, str]:
    """Where, and why."""
    assert (answer.status_code, answer.json["code"]) == (422, "invalid"), answer.json
    Problem.model_validate(answer.json)
    assert TOKEN not in answer.text
    (error,) = answer.json["errors"]
    return error.get("pointer", error.get("parameter")), error["detail"]


def test_one_generation_has_its_own(client: FlaskClient, ledger: Ledger):
    made = post(client, {"prompt": "a fox", "notify": URL})
    assert made.status_code == 201
    assert given(ledger, made.json["id"]) == URL


def test_an_item_has_its_own_and_the_others_that_of_the_batch(client: FlaskClient, ledger: Ledger):
    body = {"generations": [{"prompt": "a fox", "notify": CRM}, {"prompt": "an owl"}], "notify": URL}
    made = post(client, body).json
    fox, owl = (one["id"] for one in made["data"])
    assert [given(ledger, one) for one in (fox, owl, made["batch_id"])] == [CRM, None, URL]


def test_a_list_of_one_makes_no_batch_and_the_generation_has_it(client: FlaskClient, ledger: Ledger):
    made = post(client, {"generations": [{"prompt": "a fox"}], "notify": URL}).json
    assert made["batch_id"] is None
    assert given(ledger, made["data"][0]["id"]) == URL


def test_the_same_request_again_changes_nothing_and_another_address_is_another_request(
    client: FlaskClient, ledger: Ledger
):
    body = {"prompt": "a fox", "notify": URL}
    made = post(client, body).json
    again = post(client, body)
    assert (again.json["id"], again.headers["Idempotent-Replayed"]) == (made["id"], "true")
    other = post(client, {**body, "notify": CRM})
    assert (other.status_code, other.json["code"]) == (422, "key_reused")
    assert given(ledger, made["id"]) == URL


def test_a_key_that_is_known_keeps_its_address_as_it_keeps_its_labels(client: FlaskClient, ledger: Ledger):
    body = {"prompt": "a fox", "key": "sku-1"}
    made = post(client, {**body, "notify": URL}, headers={"X": "1"}).json
    again = post(client, {**body, "notify": CRM, "labels": {"client": "acme"}}, headers={"X": "1"})
    assert (again.status_code, again.json["id"]) == (200, made["id"])
    assert given(ledger, made["id"]) == URL


def test_a_batch_has_one_in_json_and_in_the_query_of_a_file(client: FlaskClient, ledger: Ledger):
    made = post(client, {"name": "json", "generations": ROWS, "notify": URL}, "batches").json
    assert given(ledger, made["batch"]) == URL
    query = {"name": "csv", "notify": CRM}
    file = client.post("/v1/batches", data="key,prompt\n1,a fox\n", content_type="text/csv", query_string=query)
    assert given(ledger, file.json["batch"]) == CRM
    assert TOKEN not in file.text
    again = client.post("/v1/batches", data="key,prompt\n1,a fox\n", content_type="text/csv", query_string={
        "name": "csv", "notify": URL,
    })  # fmt: skip
    assert again.json["not_applied"] == ["`notify` (the batch has another, https://crm.example.com/…)"]


def test_a_follow_up_has_its_own(client: FlaskClient, ledger: Ledger):
    (parent,) = archived(ledger)
    made = post(client, {"action": "upscale1", "notify": URL}, f"generations/{parent}/actions").json
    assert given(ledger, made["id"]) == URL
    place = refused(
        post(
            client, {"action": "upscale1", "notify": PRIVATE}, f"generations/{parent}/actions", {"Idempotency-Key": "2"}
        )
    )[0]
    assert place == "/notify"


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("generations", {"prompt": "a fox", "notify": PRIVATE}, "/notify"),
        (
            "generations",
            {"generations": [{"prompt": "a"}, {"prompt": "b", "notify": PRIVATE}]},
            "/generations/1/notify",
        ),
        ("generations", {"generations": [{"prompt": "a"}, {"prompt": "b"}], "notify": PRIVATE}, "/notify"),
        ("batches", {"name": "x", "generations": ROWS, "notify": PRIVATE}, "/notify"),
        ("batches", {"name": "x", "generations": ROWS, "notify": PRIVATE, "dry_run": True}, "/notify"),
    ],
)
def test_what_is_not_allowed_has_its_place_and_nothing_is_created(
    client: FlaskClient, ledger: Ledger, path: str, body: Any, place: str
):
    told = "the notify address is not public: name its host and its address or network in DARKROOM_NOTIFY_ALLOW if"
    where, detail = refused(post(client, body, path))
    assert where == place
    assert detail.startswith(told)
    assert ledger.generations.page() == []


def test_of_a_file_the_parameter_is_named(client: FlaskClient):
    query = {"name": "csv", "notify": PRIVATE}
    answer = client.post("/v1/batches", data="key,prompt\n1,a\n", content_type="text/csv", query_string=query)
    assert refused(answer)[0] == "notify"


def test_a_row_of_a_batch_has_none_of_its_own_and_is_not_taken_as_if_it_had(client: FlaskClient, ledger: Ledger):
    answer = post(client, {"name": "x", "generations": [{"key": "1", "prompt": "a fox", "notify": URL}]}, "batches")
    assert (answer.status_code, answer.json["code"]) == (422, "rows_invalid")
    told = "a row cannot have its own address for events: give one for the whole batch with `notify`"
    assert answer.json["errors"] == [{"pointer": "/generations/0/notify", "detail": told}]
    assert ledger.generations.page() == []
    assert post(client, {"name": "x", "generations": [{**ROWS[0], "notify": "yes"}]}, "batches").status_code == 201


@pytest.mark.parametrize("path", ["generations", "batches"])
def test_without_a_secret_every_address_is_refused(
    services_for: Callable[..., Services], rung: list[str], ledger: Ledger, path: str
):
    client = create_app(services_for()).test_client()
    body = {"generations": ROWS, "notify": URL} | ({"name": "x"} if path == "batches" else {})
    where, detail = refused(post(client, body, path))
    assert where == "/notify"
    assert detail.startswith("a notify address needs DARKROOM_NOTIFY_SECRET, which signs what is sent there")
    assert ledger.generations.page() == []


def test_no_answer_has_it(client: FlaskClient):
    made = post(client, {"generations": [{"prompt": "a fox", "notify": CRM}, {"prompt": "b"}], "notify": URL}).json
    fox = made["data"][0]["id"]
    for path in (f"generations/{fox}", "generations", f"batches/{made['batch_id']}", "batches", "events"):
        answer = client.get(f"/v1/{path}")
        assert answer.status_code == 200
        assert TOKEN not in json.dumps(answer.json)


def test_an_address_says_nothing_of_itself() -> None:
    assert TOKEN not in repr(NotifyAddress(URL))
