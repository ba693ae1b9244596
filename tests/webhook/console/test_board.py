"""The board and the page of a batch: what they show, what may be done there, and what the stream sends."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tasks.usecases.users import Role, UserRequest, add_user
from tests.broken_off import broken_off
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, archived, failure, new, queued, submitted
from tests.patience import patient
from tests.webhook.console.conftest import BODY_TOKEN, PASSWORD, Build, logged
from webhook.api.app import create_app
from webhook.console.stream import MOST_STREAMS
from worker.errors import LedgerUnavailable
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services

TIMES = "\N{MULTIPLICATION SIGN}"
HTML = {"Accept": "text/html"}
PRICES = "prices:\n  - {provider: acedata, price: 0.05}\ncaps:\n  day: 20\n  batch: 3\n"


def batch_of(ledger: Ledger, name: str) -> str:
    return str(ledger.generations.newest_batch(name))


def page(client: FlaskClient, path: str) -> str:
    found = client.get(path, headers=HTML)
    assert found.status_code == 200, found.text
    return found.text


def form_of(text: str) -> dict[str, str]:
    """The hidden fields of the only form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))


def failed(ledger: Ledger, name: str, number: int, clock: FakeClock, **facts: str) -> str:
    claims = submitted(ledger, number, batch=name)
    ledger.generations.apply_outcomes([failure(claim, **facts) for claim in claims])
    clock.advance(1)
    return batch_of(ledger, name)


@pytest.fixture
def app(services_for: Callable[..., Services], rung: list[str], tmp_path: Path) -> Flask:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    return create_app(services_for(darkroom_prices=prices))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    browser = app.test_client()
    browser.environ_base["HTTP_X_CSRF"] = BODY_TOKEN.findall(page(browser, "/"))[0]
    return browser


def test_an_empty_board_says_what_to_do(client: FlaskClient) -> None:
    text = page(client, "/")
    assert "No batches yet" in text
    assert "darkroom batch submit FILE" in text


def test_a_row_shows_counts_money_and_failures(client: FlaskClient, ledger: Ledger, clock: FakeClock) -> None:
    spring = failed(ledger, "spring", 2, clock, reason="timeout")
    ledger.generations.create([new(f"{number}", batch_id=spring) for number in range(3)])
    text = page(client, "/")
    assert "2 of 5" in text
    assert f"2 {TIMES} timeout" in text
    assert '0.00 USD</span> <span class="quiet">of 3.00 USD' in text
    assert 'aria-label="3 queued, 2 failed"' in text
    assert "of 20.00 USD" in text


def test_names_and_reasons_are_text(client: FlaskClient, ledger: Ledger, clock: FakeClock) -> None:
    hostile = failed(ledger, '<script>"x"</script>', 1, clock, reason="<img src=x>", message="<b>")
    ledger.generations.create([new("x", batch_id=hostile)])
    for path in ("/", f"/batches/{hostile}", f"/batches/{hostile}/retry", f"/batches/{hostile}/cancel"):
        text = page(client, path)
        assert "<script>&" not in text.replace('<script>"x', "<script>&")
        assert "<img src=x" not in text
    with client.get("/live", headers=HTML) as stream:
        assert b"<script>" not in next(iter(stream.response))


def test_a_batch_shows_each_kind_of_failure_with_its_remedy_and_a_retry(
    client: FlaskClient, ledger: Ledger, clock: FakeClock
) -> None:
    spring = failed(ledger, "spring", 2, clock, reason="forbidden")
    text = page(client, f"/batches/{spring}")
    assert "Refused by moderation" in text
    assert "the same request would be refused again" in text
    assert f"/batches/{spring}/retry?only=moderation" in text


def test_the_name_of_a_batch_leads_to_its_page(client: FlaskClient, ledger: Ledger) -> None:
    queued(ledger, batch="autumn")
    assert client.get("/batches/autumn", headers=HTML).headers["Location"] == f"/batches/{batch_of(ledger, 'autumn')}"


def test_a_batch_leads_to_its_images_and_to_their_culling(client: FlaskClient, ledger: Ledger) -> None:
    queued(ledger, batch="spring")
    spring = batch_of(ledger, "spring")
    found = page(client, f"/batches/{spring}")
    assert f'href="/gallery?batch={spring}"' in found
    assert f'href="/review/batch/{spring}"' in found


def test_an_unknown_batch_is_not_found(client: FlaskClient) -> None:
    for path in ("/batches/batch_0", "/live?batch=batch_0", "/batches/batch_0/cancel", "/batches/batch_0/results.csv"):
        assert client.get(path, headers=HTML).status_code == 404


def test_a_batch_is_paused_and_resumed(client: FlaskClient, ledger: Ledger, rung: list[str]) -> None:
    queued(ledger, batch="spring")
    spring = batch_of(ledger, "spring")
    paused = client.post(f"/batches/{spring}/pause", data={"once": "1"})
    assert (paused.status_code, paused.headers["Location"]) == (303, "/")
    assert ledger.batches.steering(spring).paused_at is not None
    assert ">Resume</button>" in page(client, "/")
    resumed = client.post(f"/batches/{spring}/resume?page=1", data={"once": "2"})
    assert resumed.headers["Location"] == f"/batches/{spring}"
    assert ledger.batches.steering(spring).paused_at is None
    # Scripts get no page, since the row follows by itself.
    assert client.post(f"/batches/{spring}/pause", headers={"HX-Request": "true"}).status_code == 204
    assert logged(ledger) == [
        ("console", "local", f"POST /batches/<batch>/{verb}", status, spring)
        for verb, status in (("pause", 303), ("resume", 303), ("pause", 204))
    ]


def test_viewers_see_everything_and_change_nothing(browser_for: Build, here: Services, ledger: Ledger) -> None:
    add_user(here, UserRequest(name="vera", role=Role.VIEWER, password=PASSWORD, by="somebody"))
    submitted(ledger, 1, batch="spring")
    spring = batch_of(ledger, "spring")
    vera = browser_for()
    assert vera.log_in("vera", PASSWORD).status_code == 303
    for path in ("/", f"/batches/{spring}"):
        text = vera.get(path).text
        assert "spring" in text
        assert "Pause" not in text
        assert f"/batches/{spring}/cancel" not in text
    with vera.get("/live") as stream:
        assert b"Pause" not in next(iter(stream.response))
    for verb in ("pause", "resume", "cancel", "retry"):
        assert vera.post(f"/batches/{spring}/{verb}", {"csrf": vera.token("/")}).status_code == 403
    assert ledger.batches.steering(spring).paused_at is None


def test_strangers_get_no_stream(browser_for: Build) -> None:
    assert browser_for().get("/live").status_code in {303, 401}


def test_cancelling_is_asked_about_first(client: FlaskClient, ledger: Ledger) -> None:
    submitted(ledger, 2, batch="spring")
    spring = batch_of(ledger, "spring")
    ledger.generations.create([new(f"{number}", batch_id=spring) for number in range(3)])
    asked = page(client, f"/batches/{spring}/cancel")
    assert "<strong>3 queued</strong> will be cancelled" in asked
    assert "<strong>2 in progress</strong> are already paid for" in asked
    done = client.post(f"/batches/{spring}/cancel", data=form_of(asked))
    assert done.status_code == 303
    assert ledger.generations.counts(spring) == {State.CANCELLED: 3, State.SUBMITTED: 2}
    assert "3 cancelled" in page(client, done.headers["Location"])


def test_a_retry_says_before_what_it_does_and_costs(
    client: FlaskClient, ledger: Ledger, clock: FakeClock, rung: list[str]
) -> None:
    spring = failed(ledger, "spring", 3, clock, reason="server_error", message="oops")
    failed(ledger, "other", 1, clock, reason="server_error")
    asked = page(client, f"/batches/{spring}/retry?only=provider")
    assert f"Retry 3 {TIMES} Provider failed" in asked
    assert "about <strong>0.15 USD</strong>" in asked
    form = form_of(asked)
    done = [client.post(f"/batches/{spring}/retry", data=form) for _ in range(2)]
    assert {one.status_code for one in done} == {303}
    assert len({one.headers["Location"] for one in done}) == 1
    assert ledger.generations.counts(spring) == {State.QUEUED: 3}
    assert "3 are retried" in page(client, done[0].headers["Location"])
    assert "dispatch" in rung


def test_a_form_that_is_sent_again_retries_nothing_that_failed_since(
    client: FlaskClient, ledger: Ledger, clock: FakeClock
) -> None:
    spring = failed(ledger, "spring", 1, clock, reason="server_error", message="oops")
    form = form_of(page(client, f"/batches/{spring}/retry"))
    assert client.post(f"/batches/{spring}/retry", data=form).status_code == 303
    ledger.dispatch.run(PROVIDER, PLENTY)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.generations.apply_outcomes([failure(claim, reason="server_error", message="oops")])
    assert client.post(f"/batches/{spring}/retry", data=form).status_code == 303
    assert ledger.generations.counts(spring) == {State.FAILED: 1}


def test_a_retry_that_was_broken_off_is_not_told_as_if_it_had_retried_nothing(
    client: FlaskClient, ledger: Ledger, clock: FakeClock
) -> None:
    spring = failed(ledger, "spring", 1, clock, reason="server_error", message="oops")
    form = form_of(page(client, f"/batches/{spring}/retry"))
    with broken_off():
        client.post(f"/batches/{spring}/retry", data=form)
    assert ledger.generations.counts(spring) == {State.QUEUED: 1}
    told = page(client, client.post(f"/batches/{spring}/retry", data=form).headers["Location"])
    assert "0 are retried. This form was sent before, and may have been carried out then." in told


def test_a_retry_without_the_key_of_its_form_is_refused(client: FlaskClient, ledger: Ledger, clock: FakeClock) -> None:
    spring = failed(ledger, "spring", 1, clock, reason="server_error", message="oops")
    form = form_of(page(client, f"/batches/{spring}/retry")) | {"once": ""}
    assert client.post(f"/batches/{spring}/retry", data=form).status_code == 400
    assert ledger.generations.counts(spring) == {State.FAILED: 1}


def test_only_what_was_asked_for_is_retried(client: FlaskClient, ledger: Ledger, clock: FakeClock) -> None:
    spring = failed(ledger, "spring", 2, clock, reason="server_error", message="oops")
    text = page(client, f"/batches/{spring}/retry?only=moderation")
    assert "Nothing can be retried here" in text
    assert client.get(f"/batches/{spring}/retry?only=nonsense", headers=HTML).status_code == 422


def test_what_may_still_be_delivered_is_retried_only_when_somebody_takes_the_risk(
    client: FlaskClient, ledger: Ledger, clock: FakeClock
) -> None:
    spring = failed(ledger, "spring", 2, clock, reason="timeout", message="slow")
    asked = page(client, f"/batches/{spring}/retry?only=provider")
    assert "<strong>2</strong> are left alone: the provider may still deliver them" in asked
    assert "Nothing can be retried now" in asked
    again = page(client, f"/batches/{spring}/retry?only=provider&may_pay_twice=1")
    assert f"Retry 2 {TIMES} Provider failed" in again
    assert "and charge for both" in again
    assert client.post(f"/batches/{spring}/retry", data=form_of(again)).status_code == 303
    assert ledger.generations.counts(spring) == {State.QUEUED: 2}


def test_results_are_a_file(client: FlaskClient, ledger: Ledger) -> None:
    archived(ledger, 2, batch="spring")
    spring = batch_of(ledger, "spring")
    found = client.get(f"/batches/{spring}/results.csv", headers=HTML)
    assert found.mimetype == "text/csv"
    assert found.headers["Content-Disposition"] == "attachment; filename=spring.csv"
    assert found.data.startswith(b"\xef\xbb\xbf")
    assert len(list(csv.reader(io.StringIO(found.text)))) == 3
    found.close()
    for name, begin in (("results.xlsx", b"PK"), ("errors.csv", b"\xef\xbb\xbf")):
        with client.get(f"/batches/{spring}/{name}", headers=HTML) as other:
            assert (other.status_code, other.data[: len(begin)]) == (200, begin)
    assert client.get(f"/batches/{spring}/results.html", headers=HTML).status_code == 404


def test_a_stream_sends_the_rows_and_at_once_what_somebody_changes(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.console.stream._PAUSE", patient(600))
    queued(ledger, batch="spring")
    spring = batch_of(ledger, "spring")
    with client.get("/live", headers=HTML) as opened:
        assert opened.mimetype == "text/event-stream"
        assert opened.headers["Cache-Control"] == "no-store"
        messages = iter(opened.response)
        first = next(messages).decode()
        assert '<hx-partial hx-target="#rows" hx-swap="innerMorph">' in first
        assert f'id="row-{spring}"' in first
        client.post(f"/batches/{spring}/pause", headers={"HX-Request": "true"})
        changed = next(one.decode() for one in messages if b"beat" not in one)
    assert f'<hx-partial hx-target="#row-{spring}" hx-swap="outerMorph">' in changed
    assert "paused" in changed
    assert "#rows" not in changed
    # What is sent is the same for all who may do the same: nothing of one person is in it.
    assert "csrf" not in first + changed
    assert 'name="once"' not in first + changed


def test_the_page_of_a_batch_has_a_stream_of_its_own(client: FlaskClient, ledger: Ledger) -> None:
    queued(ledger, batch="spring")
    with client.get(f"/live?batch={batch_of(ledger, 'spring')}", headers=HTML) as opened:
        first = next(iter(opened.response)).decode()
    assert re.findall(r'hx-target="#([a-z]+)"', first) == ["waits", "standing", "details"]


@contextmanager
def all_places_taken(app: Flask) -> Iterator[None]:
    with ExitStack() as streams:
        for _ in range(MOST_STREAMS):
            streams.enter_context(app.test_client().get("/live", headers=HTML))
        yield


def test_beyond_the_cap_pages_poll(app: Flask, client: FlaskClient, ledger: Ledger) -> None:
    queued(ledger, batch="spring")
    with all_places_taken(app):
        polled = client.get("/live", headers=HTML)
        assert polled.mimetype == "text/html"
        assert 'hx-target="#rows"' in polled.text
        # Whoever had a stream before is told, in its words.
        told = client.get("/live", headers={**HTML, "Last-Event-ID": "1"})
        assert (told.mimetype, told.data) == ("text/event-stream", b"event: full\ndata:\n\n")
    with client.get("/live", headers=HTML) as again:
        assert again.mimetype == "text/event-stream"


def test_without_the_ledger_a_poll_is_refused(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise LedgerUnavailable("the database does not answer")

    monkeypatch.setattr("webhook.console.board.show_board", away)
    monkeypatch.setattr("webhook.console.stream._BEAT", 0.01)
    with all_places_taken(app):
        assert client.get("/live", headers=HTML).status_code == 503
        assert client.get("/", headers=HTML).status_code == 503
