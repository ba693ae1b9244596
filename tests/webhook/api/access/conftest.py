"""The private process with three operations of its own, as they are in every resource, on either kind of database."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tasks.usecases.tokens import CreatedToken, TokenRequest, create_token
from tests.clock import FakeClock
from tests.factories import new
from webhook.api import app as private
from webhook.api.call import Call, Reply
from webhook.api.models.base import RequestModel
from webhook.api.routes import Routes
from webhook.api.scopes import Scope
from worker.errors import RequestInvalid
from worker.ledger import Ledger
from worker.ledger.schema import metadata
from worker.services import Services
from worker.settings.settings import Settings

routes = Routes("things")
HERE = "http://127.0.0.1:8001"
FOX = {"prompt": "a fox"}


class Thing(RequestModel):
    prompt: str
    dry_run: bool = False


@routes.get("/things/{id}", scope=Scope.GENERATIONS_READ, answers={200: None})
def get_thing(call: Call, id: str) -> Reply:  # noqa: A002  the name of the path's parameter
    """Get a thing."""
    return Reply(document={"id": id, "caller": call.caller.name, "is_test": call.caller.is_test})


@routes.post("/things", scope=Scope.GENERATIONS_WRITE, answers={201: None}, media=("text/csv",))
def create_thing(call: Call, body: Thing) -> Reply:
    """Create a generation."""
    if body.prompt == "impossible":
        raise RequestInvalid("no provider can do this")
    if body.prompt == "crash":
        raise KeyError(body.prompt)
    if body.dry_run:
        return Reply(document={"id": None})
    (made,) = call.here.ledger.generations.create([new(body.prompt, created_by=call.caller.by)])
    document = {"id": made.id, "actions": [one._asdict() for one in call.here.ledger.access.actions()]}
    return Reply(document=document, status=201, headers={"Location": f"/v1/things/{made.id}"})


@routes.post("/things/{id}/stop", scope=Scope.GENERATIONS_WRITE, answers={200: None})
def stop_thing(call: Call, id: str) -> Reply:  # noqa: A002  likewise
    """Stop it."""
    call.here.ledger.generations.cancel([id])
    return Reply(document={"id": id})


@dataclass
class Door:
    """The private process, its ledger and its clock."""

    ledger: Ledger
    clock: FakeClock
    here: Services
    app: Flask

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def post(self, path: str = "/v1/things", secret: str | None = None, **facts: Any) -> TestResponse:
        """As a program of this machine, or with a token; `facts` are those of werkzeug's client."""
        headers = {**bearer(secret), **facts.pop("headers", {})}
        body = {} if {"data", "json"} & facts.keys() else {"json": FOX}
        return self.client.post(path, base_url=HERE, headers=headers, **body, **facts)

    def get(self, path: str = "/v1/things/gen_1", secret: str | None = None, **facts: Any) -> TestResponse:
        headers = {**bearer(secret), **facts.pop("headers", {})}
        return self.client.get(path, base_url=HERE, headers=headers, **facts)

    def token(self, name: str = "studio", *scopes: str, **facts: Any) -> CreatedToken:
        request = TokenRequest(name=name, scopes=scopes or ("generations:write",), by="somebody", **facts)
        return create_token(self.here, request)

    def rows(self) -> dict[str, int]:
        """How many there are in each table of the ledger."""
        with self.ledger.database.read() as connection:
            counts = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            }
        return {name: count for name, count in counts.items() if count}


def bearer(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def door(ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    settings = Settings(database_url=ledger.database.url)  # type: ignore[arg-type]
    services = Services(settings, clock)
    services.__dict__["ledger"] = ledger
    monkeypatch.setattr(private, "OPERATIONS", tuple(routes.operations))
    return Door(ledger, clock, services, private.create_app(services))
