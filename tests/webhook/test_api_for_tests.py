"""A token for tests changes nothing that is paid for, whatever the API can do."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from flask import Flask

from tasks.usecases.tokens import ALL
from tests.factories import queued
from webhook.api import app as api
from webhook.api.access import Access, Identified
from webhook.api.call import LOCAL, Call, Caller, Reply
from webhook.api.routes import Routes
from webhook.api.scopes import Scope
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import Settings

routes = Routes("tries")


@routes.post("/generations/{id}/touch", scope=Scope.GENERATIONS_WRITE, answers={200: None})
def touch_generation(call: Call, id: str) -> Reply:  # noqa: A002
    """Touch one."""
    return Reply(document={"touched": id})


@routes.post("/batches/{id}/touch", scope=Scope.BATCHES_WRITE, answers={200: None})
def touch_batch(call: Call, id: str) -> Reply:  # noqa: A002
    """Touch one."""
    return Reply(document={"touched": id})


@pytest.fixture
def here(sqlite_url: str) -> Iterator[Services]:
    with closing(Services(Settings(database_url=sqlite_url))) as services:
        yield services


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, here: Services) -> Flask:
    monkeypatch.setattr(api, "OPERATIONS", tuple(routes.operations))
    return api.create_app(here)


def answers(app: Flask, monkeypatch: pytest.MonkeyPatch, caller: Caller, *paths: str) -> list[int]:
    monkeypatch.setattr(Access, "identify", lambda *_, **__: Identified(caller, {}))
    return [app.test_client().post(f"/v1/{path}/touch").status_code for path in paths]


def test_a_token_for_tests_finds_only_tests_to_change(
    application: Flask, here: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger: Ledger = here.ledger
    (test,) = queued(ledger, batch="shop (test)", is_test=True)
    (paid,) = queued(ledger, batch="shop")
    paths = [f"generations/{test.id}", f"batches/{test.batch_id}", f"generations/{paid.id}", f"batches/{paid.batch_id}"]
    for_tests = Caller(owner="tok_1", name="ci", scopes=frozenset({ALL}), is_test=True)
    assert answers(application, monkeypatch, for_tests, *paths) == [200, 200, 404, 404]
    assert answers(application, monkeypatch, LOCAL, *paths) == [200, 200, 200, 200]
