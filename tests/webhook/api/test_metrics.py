"""`GET /metrics`: who may scrape, in which format, and what a scrape says while the ledger is away."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from werkzeug.test import TestResponse

from tasks.usecases.metrics import DURATION, FAMILIES, PART_UP, PARTS
from tasks.usecases.tokens import TokenRequest, create_token, revoke_token
from tests.clock import FakeClock
from tests.factories import archived, at_once, queued
from tests.patience import patient, wait_for
from webhook import scrapes
from webhook.api.app import create_app
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.services import Services

HERE = "http://127.0.0.1:8001"
FAR = {"REMOTE_ADDR": "203.0.113.7", "SERVER_NAME": "0.0.0.0"}
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def scrape(client: FlaskClient, secret: str | None = None, **headers: str) -> TestResponse:
    given = {**headers, **({"Authorization": f"Bearer {secret}"} if secret else {})}
    return client.get("/metrics", base_url=HERE, headers=given, environ_overrides=FAR if secret else {})


def families(response: TestResponse) -> Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]:
    """By sample's name and labels."""
    assert response.status_code == 200, response.text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in plain(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def ups(response: TestResponse) -> dict[str, float]:
    return {labels[0][1]: value for labels, value in families(response)[PART_UP.name].items()}


def test_all_families_are_there_with_their_labels(client: FlaskClient, ledger: Ledger) -> None:
    archived(ledger, 2)
    response = scrape(client)
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    known = {family.name: family for family in FAMILIES}
    told = {family.name: family for family in plain(response.text)}
    for family in told.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert (family.type, family.documentation) == (known[name].kind, known[name].meaning)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(known[name].labels)
    # No prices, and a broker that refuses.
    absent = {
        "darkroom_spend_today",
        "darkroom_spend_cap",
        "darkroom_spend_budget_used",
        "darkroom_broker_queue_length",
    }
    assert {name.removesuffix("_total") for name in known.keys() - absent} == told.keys()
    assert ups(response) == {part.name: float(part.name != "broker") for part in PARTS}


def test_accept_decides_between_text_and_openmetrics(client: FlaskClient, ledger: Ledger) -> None:
    queued(ledger)
    response = scrape(client, Accept=OPENMETRICS)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics(response.text)}
    assert {"darkroom_callbacks", "darkroom_generations", DURATION.name} <= names
    assert scrape(client, Accept="text/html").headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_several_scrapes_at_once_read_once(
    services_for: Callable[..., Services], rung: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    monkeypatch.setattr(scrapes, "read_parts", lambda *_: read.append(1) or {})
    app = create_app(services_for())
    statuses = at_once(*[lambda: scrape(app.test_client()).status_code] * 4)
    assert (statuses, len(read)) == ([200] * 4, 2)


def test_from_elsewhere_it_takes_a_token_with_its_scope(app: Flask, services_for: Callable[..., Services]) -> None:
    here, client = services_for(), app.test_client()
    far = client.get("/metrics", base_url=HERE, environ_overrides=FAR)
    assert (far.status_code, far.json["code"]) == (401, "token_missing")
    for name, scope, status in (
        ("reader", "generations:read", 403),
        ("prom", "metrics:read", 200),
        ("any", "all", 200),
    ):
        made = create_token(here, TokenRequest(name=name, scopes=[scope], by="somebody"))
        assert scrape(client, made.secret).status_code == status
    other = client.get("/v1/spend", headers={"Authorization": f"Bearer {made.secret}"})
    assert other.status_code == 200


def test_nobody_writes_to_it(client: FlaskClient) -> None:
    assert client.post("/metrics", base_url=HERE).status_code == 405


@pytest.fixture
def away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def go() -> None:
        def refuse(*_: object, **__: object) -> None:
            raise LedgerUnavailable("the ledger is away")

        monkeypatch.setattr(ledger.database, "read", refuse)
        monkeypatch.setattr(ledger.database, "write", refuse)

    return go


def test_while_the_ledger_is_away_its_families_are_absent_and_never_zero(
    client: FlaskClient, ledger: Ledger, away: Callable[[], None]
) -> None:
    queued(ledger)
    assert ups(scrape(client))["counts"] == 1
    away()
    assert wait_for(lambda: not any(ups(scrape(client)).values()), 10)
    assert families(scrape(client)).keys() == {PART_UP.name, DURATION.name}
    assert "darkroom_generations" not in scrape(client).text


def test_a_token_that_was_valid_before_scrapes_while_the_ledger_is_away_and_nothing_else(
    app: Flask, services_for: Callable[..., Services], clock: FakeClock, away: Callable[[], None]
) -> None:
    client, here = app.test_client(), services_for()
    made = create_token(here, TokenRequest(name="prom", scopes=["all"], by="somebody"))
    assert scrape(client, made.secret).status_code == 200
    away()
    clock.advance(minutes=30)
    assert scrape(client, made.secret).status_code == 200
    bearer = {"Authorization": f"Bearer {made.secret}"}
    # Which could be answered without a ledger.
    assert client.get("/v1/providers", headers=bearer, environ_overrides=FAR).status_code == 503
    # One that nobody has read yet, and one that was read long ago.
    unknown = made.secret[:-20]
    assert scrape(client, unknown).status_code == 401
    clock.advance(minutes=31)
    assert scrape(client, made.secret).status_code == 503


def test_a_token_that_is_revoked_or_expires_scrapes_no_more(
    app: Flask, services_for: Callable[..., Services], clock: FakeClock, away: Callable[[], None]
) -> None:
    client, here = app.test_client(), services_for()
    revoked = create_token(here, TokenRequest(name="a", scopes=["metrics:read"], by="somebody"))
    short = TokenRequest(name="b", scopes=["metrics:read"], by="somebody", expires_in=timedelta(minutes=10))
    expiring = create_token(here, short)
    assert [scrape(client, one.secret).status_code for one in (revoked, expiring)] == [200, 200]
    revoke_token(here, "a")
    clock.advance(seconds=10)
    assert scrape(client, revoked.secret).status_code == 401
    away()
    clock.advance(minutes=10)
    assert scrape(client, expiring.secret).status_code == 401


@pytest.fixture
def release() -> Iterator[threading.Event]:
    done = threading.Event()
    yield done
    done.set()


def test_a_ledger_that_hangs_holds_up_no_scrape(
    services_for: Callable[..., Services], rung: list[str], monkeypatch: pytest.MonkeyPatch, release: threading.Event
) -> None:
    monkeypatch.setattr(scrapes, "PATIENCE", 0.2)
    here = services_for()
    client = create_app(here).test_client()
    made = create_token(here, TokenRequest(name="prom", scopes=["metrics:read"], by="somebody"))
    assert scrape(client, made.secret).status_code == 200

    ended = threading.Event()

    def hang() -> None:
        if not release.wait(patient(20)):
            ended.set()
        raise LedgerUnavailable("too late")

    monkeypatch.setattr(here.ledger.database, "read", hang)
    # What was read before may come late, and is kept for a moment.
    none = dict.fromkeys((part.name for part in PARTS), 0.0)
    assert wait_for(lambda: ups(scrape(client)) == none, 10)
    # It still hangs.
    assert not ended.is_set()


def test_labels_hold_nothing_of_what_users_write(client: FlaskClient, ledger: Ledger) -> None:
    facts = {"key": "key-7f3a", "labels": {"client": "acme-7f3a"}}
    archived(ledger)
    queued(ledger, batch="batch-7f3a", options={"seed": 7}, **facts)
    assert "7f3a" not in scrape(client).text
    assert "fox" not in scrape(client).text
    assert "cdn.example" not in scrape(client).text


def test_the_library_is_imported_with_the_first_scrape() -> None:
    code = (
        "import sys, webhook.api.app, webhook.app; "
        "assert not [one for one in sys.modules if one.startswith('prometheus_client')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
