"""GET /v1/events: no event is skipped, whoever waits gets it soon, and few wait."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tasks.usecases.events.published import EVENTS, SCHEMA_ID, schema_document
from tests.factories import archived, submitted
from tests.patience import patient
from tests.published_events import schema
from webhook import waiting
from webhook.api import event_watch
from webhook.api.app import OPERATIONS, create_app
from webhook.api.event_watch import MOST_WAITING, EventWatch
from webhook.api.models.events import events_document
from webhook.api.openapi import document_of, untitled
from webhook.waiting import THREADS
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.services import Services
from worker.settings import load_settings

FLOW = ["generation.submitted", "generation.succeeded", "asset.archived", "generation.archived"]


@pytest.fixture
def here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    services = Services(load_settings())
    yield services
    services.close()


@pytest.fixture
def app(here: Services) -> Flask:
    return create_app(here)


def happen(ledger: Ledger, *types: str) -> None:
    with ledger.database.write() as connection:
        changes = Changes(connection, ledger.database.clock())
        for kind in types:
            changes.event(kind, reason="of the test")
        changes.flush()


def get(app: Flask, **query: Any) -> dict[str, Any]:
    response = app.test_client().get("/v1/events", query_string=query)
    assert response.status_code == 200, response.text
    events_document().model_validate_json(response.text)
    return json.loads(response.text)


def types_of(page: dict[str, Any]) -> list[str]:
    return [one["type"] for one in page["data"]]


def test_pages_lead_through_all_events_in_their_order(app: Flask, here: Services):
    archived(here.ledger, batch="spring")
    page = get(app, limit=2)
    found = types_of(page)
    while page["data"]:
        page = get(app, limit=2, after=page["next"])
        found += types_of(page)
    assert found == [*FLOW, "batch.completed"]
    assert page["next"] == get(app)["data"][-1]["id"]


def test_an_empty_ledger_has_no_position(app: Flask):
    assert get(app) == {"data": [], "next": None}


def test_types_and_a_batch_select_and_the_position_moves_on(app: Flask, here: Services):
    archived(here.ledger, batch="spring")
    last = get(app)["data"][-1]["id"]
    submitted(here.ledger)
    assert types_of(get(app, type="asset.*,batch.completed")) == ["asset.archived", "batch.completed"]
    page = get(app, batch="spring", after=last)
    assert page["data"] == []
    assert page["next"] == get(app)["data"][-1]["id"] != last


def test_an_event_is_the_same_as_for_subscribers(app: Flask, here: Services):
    archived(here.ledger, key="sku-1", labels={"client": "acme"})
    for event in get(app)["data"]:
        schema().validate(event)
        assert event["data"].items() >= {"key": "sku-1", "labels": {"client": "acme"}}.items()


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"after": "gen_1"}, 422, "'gen_1' is not the id of an event"),
        ({"type": "generation.faild"}, 422, "no event matches 'generation.faild'"),
        ({"batch": "spring"}, 404, "there is no batch"),
        ({"wait": "61"}, 422, "wait"),
        ({"limit": "201"}, 422, "limit"),
        ({"since": "1h"}, 422, "since"),
    ],
)
def test_a_wrong_question_is_a_problem(app: Flask, query: dict[str, str], status: int, words: str):
    response = app.test_client().get("/v1/events", query_string=query)
    assert response.status_code == status
    assert words in response.get_json()["detail"]


def test_a_position_that_was_pruned_is_gone_and_the_oldest_is_named(app: Flask, here: Services):
    archived(here.ledger)
    first = get(app)["data"][0]["id"]
    here.ledger.maintenance.prune_events(here.clock() + timedelta(hours=1))
    # The newest always stays.
    (oldest,) = get(app)["data"]
    response = app.test_client().get("/v1/events", query_string={"after": first})
    problem = response.get_json()
    assert (response.status_code, problem["code"]) == (410, "events_pruned")
    assert oldest["id"] in problem["detail"]
    assert problem["errors"] == [{"parameter": "after", "detail": "no longer kept", "value": oldest["id"]}]
    assert get(app, after=oldest["id"])["data"] == []


# --- waiting ---


def test_whoever_waits_gets_an_event_when_it_happens(app: Flask, here: Services):
    archived(here.ledger)
    last = get(app)["data"][-1]["id"]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(get, app, after=last, wait=60, type="submissions.*") for _ in range(3)]
        # What they do not want does not end their wait.
        submitted(here.ledger)
        happen(here.ledger, "submissions.paused")
        pages = [one.result(patient(30)) for one in waiting]
    assert [types_of(page) for page in pages] == [["submissions.paused"]] * 3


def test_a_wait_in_vain_ends_with_nothing_and_the_same_position(app: Flask, here: Services):
    archived(here.ledger)
    last = get(app)["data"][-1]["id"]
    assert get(app, after=last, wait=0.3) == {"data": [], "next": last}


def test_what_is_there_is_not_waited_for(app: Flask, here: Services):
    archived(here.ledger)
    assert types_of(get(app, wait=60)) == FLOW


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_event_of_a_slow_transaction_is_skipped(app: Flask, here: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.ledger.events.order._PATIENCE", 0.05)
    happen(here.ledger, "submissions.paused")
    last = get(app)["data"][-1]["id"]
    with ThreadPoolExecutor(1) as pool, here.ledger.database.write() as slow:
        changes = Changes(slow, here.ledger.database.clock())
        changes.event("submissions.resumed", by="somebody")
        changes.flush()
        happen(here.ledger, "submissions.paused")
        assert get(app, after=last) == {"data": [], "next": last}
        waiting = pool.submit(get, app, after=last, wait=60)
        time.sleep(0.3)
        assert not waiting.done()
        slow.commit()
        page = waiting.result(patient(30))
    assert types_of(page) == ["submissions.resumed", "submissions.paused"]


def test_those_who_wait_for_an_event_and_for_a_generation_leave_threads_for_others():
    assert MOST_WAITING + waiting.MOST_WAITING <= THREADS * 3 / 4


def test_who_finds_no_place_to_wait_is_answered_at_once(app: Flask, here: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event_watch.EventWatch.__init__, "__defaults__", (event_watch.INTERVAL, 0))
    happen(here.ledger, "submissions.paused")
    last = get(app)["data"][-1]["id"]
    response = app.test_client().get("/v1/events", query_string={"after": last, "wait": 60})
    assert response.get_json() == {"data": [], "next": last}
    assert response.headers["Retry-After"] == "2"


def test_all_who_wait_share_one_question_to_the_ledger():
    asked: list[float] = []
    position = 7

    def ask() -> int:
        asked.append(time.monotonic())
        return position

    watch = EventWatch(ask, interval=0.05)
    barrier = threading.Barrier(8)

    def wait() -> int | None:
        barrier.wait(patient(10))
        return watch.wait_beyond(7, time.monotonic() + patient(30))

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(wait) for _ in range(8)]
        while len(asked) < 5:
            time.sleep(0.01)
        position = 8
        assert {one.result(patient(30)) for one in waiting} == {8}
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(asked))


def test_a_position_that_is_unknown_now_is_no_step_back():
    answers = iter([7, None, None, 8])
    watch = EventWatch(lambda: next(answers), interval=0)
    assert watch.wait_beyond(6, 0) == 7
    assert watch.wait_beyond(6, 0) == 7
    assert watch.wait_beyond(7, 0) is None
    assert watch.wait_beyond(7, 0) == 8


# --- OpenAPI ---


def test_the_openapi_document_has_every_event_as_a_webhook():
    document = document_of(OPERATIONS)
    assert document["webhooks"].keys() == EVENTS.keys()
    schemas = document["components"]["schemas"]
    for name, described in document["webhooks"].items():
        body = described["post"]["requestBody"]["content"]["application/json"]["schema"]
        schema = schemas[body["$ref"].removeprefix("#/components/schemas/")]
        assert schema["properties"]["type"]["const"] == name
        assert described["post"]["summary"]


def test_the_schemas_of_openapi_are_those_that_are_published():
    published = json.loads(json.dumps(schema_document()).replace("#/$defs/", "#/components/schemas/"))
    assert published["$id"] == SCHEMA_ID
    schemas = document_of(OPERATIONS)["components"]["schemas"]
    assert {name: untitled(one) for name, one in published["$defs"].items()}.items() <= schemas.items()
