"""An event as a document: what is derived when it is read, and what it never has."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.outcomes import apply
from tasks.usecases import views
from tasks.usecases.events.place import EventPlace, event_place
from tests.clock import FakeClock
from tests.factories import archived, failure, progress, submitted
from tests.published_events import check_shown
from worker.archive import Keys
from worker.errors import ConfigurationError
from worker.failures import REMEDIES, Category
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.events import EventFilter, RecordedEvent
from worker.pricing import Prices
from worker.secrets import redact
from worker.services import Services
from worker.settings import Settings, load_settings

SECRET = "0123456789abcdef"
LINK = f"https://cdn.discordapp.com/a/fox.png?ex=66aa&hm={SECRET}"
PLACE = EventPlace("acme-images", Keys("prod"), "EUR")
BATCH = "batch_01a22359182c000000000e5d3a90c2b1"


def event(kind: str, about: dict[str, Any] | None = None, **payload: Any) -> RecordedEvent:
    return RecordedEvent(
        event_id=57,
        at=datetime(2026, 11, 29, 3, 4, 5, 678901, tzinfo=UTC),
        type=kind,
        payload=payload,
        generation_id=None if kind.startswith(("batch.", "budget.")) else "gen_1",
        batch_id=BATCH if kind.startswith("batch.") else None,
        about=about or {},
    )


def data_of(one: RecordedEvent, place: EventPlace = PLACE) -> dict[str, Any]:
    document = views.of_event(one, place)
    check_shown(one.type, document)
    data: dict[str, Any] = document["data"]
    return data


def test_an_event_has_its_id_its_time_and_no_secret() -> None:
    document = views.of_event(event("generation.failed", reason="failed", message=f"no: {LINK}"), PLACE)
    assert list(document) == ["id", "type", "timestamp", "data"]
    assert document["id"] == "evt_57_1a22542832e"
    assert document["timestamp"] == "2026-11-29T03:04:05.678901Z"
    assert SECRET not in json.dumps(document)


@pytest.mark.parametrize(
    ("kind", "facts", "category"),
    [
        ("generation.failed", {"reason": "forbidden"}, Category.MODERATION),
        ("generation.failed", {"reason": "failed", "message": "violates our guidelines"}, Category.MODERATION),
        ("generation.unconfirmed", {"reason": "read_timeout"}, Category.UNCONFIRMED),
        ("generation.expired", {"reason": "link_dead"}, Category.LINK),
        ("asset.expired", {"index": 0, "reason": "bad_content", "error": "it is a page"}, Category.CONTENT),
    ],
)
def test_what_came_to_nothing_has_its_category_and_the_remedy(
    kind: str, facts: dict[str, Any], category: Category
) -> None:
    assert data_of(event(kind, **facts))["failure"] == {"category": category, "remedy": REMEDIES[category]}


def test_the_reason_of_something_else_is_no_failure() -> None:
    assert "failure" not in data_of(event("follow_up.refused", reason="acedata offers no upscale5"))


def test_the_bucket_is_named_where_there_is_an_object_and_only_there() -> None:
    assert data_of(event("asset.archived", index=0, object_key="a/0.png"))["bucket"] == "acme-images"
    assert "bucket" not in data_of(event("generation.submitted"))
    nowhere = EventPlace(None, Keys(), None)
    assert "bucket" not in data_of(event("asset.archived", index=0, object_key="a/0.png"), nowhere)


def test_a_complete_batch_has_its_manifest_and_the_currency_of_its_cost() -> None:
    cost = {"known": "1.20", "possible": "0.00"}
    complete = event("batch.completed", {"batch": "spring"}, counts={"archived": 2}, cost=cost)
    assert data_of(complete) == {
        "batch_id": BATCH,
        "batch": "spring",
        "counts": {"archived": 2},
        "cost": {**cost, "currency": "EUR"},
        "manifest": f"prod/manifests/spring/{BATCH}/manifest.jsonl",
        "bucket": "acme-images",
    }
    assert "cost" not in data_of(event("batch.completed", {"batch": "spring"}, counts={}, cost=None))


def test_amounts_have_their_currency() -> None:
    facts = {"budget": "day", "provider": "kie", "day": "2026-11-29", "cap": "5.00", "used": "4.99"}
    assert data_of(event("budget.exceeded", **facts))["currency"] == "EUR"
    assert "currency" not in data_of(event("budget.exceeded", **facts), EventPlace(None, Keys(), None))


def test_prices_that_cannot_be_read_cost_only_the_currency() -> None:
    def unreadable() -> Prices:
        raise ConfigurationError("line 3 is wrong")

    assert event_place(load_settings(), unreadable).currency is None


def test_events_of_a_deleted_generation_keep_ids_and_nothing_else_of_it(sqlite_url: str, clock: FakeClock) -> None:
    ledger = Ledger(sqlite_url, clock)
    (claim,) = submitted(ledger, key="sku-1", labels={"client": "acme"}, batch="spring")
    ledger.generations.apply_outcomes([failure(claim, message=LINK)])
    (stored,) = archived(ledger)
    ledger.generations.delete([claim.generation.id, stored], Person("somebody"))
    found = [(one.type, data_of(one)) for one in ledger.events.newest_events(EventFilter())]
    ledger.close()
    assert len(found) == 9
    for kind, data in found:
        if kind != "batch.completed":
            assert not {"reason", "message", "failure", "object_key", "assets"} & data.keys(), kind


@pytest.mark.parametrize(("setting", "number"), [(None, 0), ("true", 1)])
def test_progress_is_recorded_if_the_setting_says_so(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, setting: str | None, number: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    if setting is not None:
        monkeypatch.setenv("DARKROOM_PROGRESS_EVENTS", setting)
    clock = FakeClock()
    here = Services(load_settings(), clock)
    (claim,) = submitted(here.ledger)
    clock.advance(60)
    apply(here, [progress(claim, 35)])
    found = [one for one in here.ledger.events.newest_events(EventFilter()) if one.type == "generation.progress"]
    assert [data_of(one)["progress"] for one in found] == [35] * number
    here.close()


def test_the_link_of_an_approval_is_made_when_it_is_shown(ledger: Ledger) -> None:
    facts = {"approval": "apr_01a22359182c000000000f2b6c1e4a77", "step": "best", "images": [1, 2]}
    waits = event("generation.needs_approval", **facts)
    assert "link" not in data_of(waits)
    keys = {"darkroom_signing_keys": "k1:" + "k" * 32}
    settings = Settings(database_url=ledger.database.url, console_url="https://darkroom.example", **keys)  # type: ignore[arg-type]
    link = data_of(waits, event_place(settings, lambda: None))["link"]
    assert link.startswith(f"https://darkroom.example/approvals/{facts['approval']}.")
    assert redact(link).endswith(".[redacted]")
    # That of a deleted generation has no facts left.
    assert "link" not in data_of(event("generation.needs_approval"), event_place(settings, lambda: None))
