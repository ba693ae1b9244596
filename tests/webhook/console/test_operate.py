"""Operate: what needs a person, each with its remedy, and every remedy carried out once."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.broken_off import broken_off
from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    PROVIDER,
    archived,
    claimed,
    delivery,
    failure,
    queued,
    state_of,
    submitted,
    succeeded,
)
from tests.webhook.console.forms import Console, once_of, text_of
from webhook.api.app import create_app
from worker.errors import AccountBlocked, CallbackUnreadable, Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.events import NewSubscriber
from worker.ledger.outcome import News
from worker.ledger.submission import Submitted
from worker.services import Services

POLL_AFTER = timedelta(minutes=5)
PARTS = ("", *(f"/{one}" for one in ("unconfirmed", "at-risk", "dead", "accounts", "workers", "restore", "spend")))
HOSTILE = '<script>alert(1)</script>"onload=alert(1) https://cdn.example/a.png?token=secret-of-somebody'


@pytest.fixture
def here(services_for: Callable[..., Services], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setattr("tasks.usecases.workers.waiting", dict)
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: USD\nprices: [{provider: acedata, price: 0.05}]\n")
    return services_for(darkroom_prices=prices)


@pytest.fixture
def console(here: Services, rung: list[str]) -> Console:
    return Console(create_app(here))


def unconfirmed(ledger: Ledger, error: str = "no answer came in time", **facts: object) -> str:
    (claim,) = claimed(ledger, **facts)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain(error, code="read_timeout"))], POLL_AFTER)
    return claim.generation.id


def unreadable(ledger: Ledger, body: bytes = b'{"a": 1}', **facts: object) -> int:
    (claim,) = submitted(ledger)
    ledger.callbacks.store([delivery(claim.attempt_id, body, **facts)])
    (callback,) = ledger.callbacks.claim(9, LEASE)
    error = CallbackUnreadable("it reports success without a result")
    ledger.generations.apply_outcomes(
        [News(attempt_id=claim.attempt_id, outcome=error, cause="callback", callback_id=callback.id)]
    )
    return callback.id


def working(ledger: Ledger) -> None:
    ledger.maintenance.beat("worker.7@here", 7)
    ledger.maintenance.beat("clock.8@here", 8)


def test_nothing_needs_anybody(console: Console, ledger: Ledger):
    working(ledger)
    assert "Nothing needs attention" in text_of(console.get("/operate"))


def test_what_needs_a_person_is_told_the_most_urgent_first(console: Console, ledger: Ledger, clock: FakeClock):
    unreadable(ledger)
    unconfirmed(ledger)
    clock.advance(2 * 3600)
    page = text_of(console.get("/operate"))
    places = [page.index(words) for words in ("no worker is running".capitalize(), "unknown outcome", "1 dead letter")]
    assert places == sorted(places)
    for part in ("workers", "unconfirmed", "dead"):
        assert f'href="/operate/{part}"' in page


def test_a_short_pause_needs_nobody_and_an_empty_account_does(console: Console, ledger: Ledger):
    working(ledger)
    claims = claimed(ledger, 2)
    ledger.submissions.record(
        [Submitted(claims[0].attempt_id, AccountBlocked("the balance is empty", code="used_up", status=402))],
        POLL_AFTER,
    )
    page = text_of(console.get("/operate"))
    assert "the balance is empty" in page
    assert 'href="/operate/accounts"' in page
    assert "Paused" in text_of(console.get("/operate/accounts"))


def test_an_unconfirmed_one_shows_what_is_known_and_what_is_at_stake(console: Console, ledger: Ledger):
    generation_id = unconfirmed(ledger, key="sku-7")
    page = text_of(console.get("/operate/unconfirmed"))
    for words in (generation_id, "sku-7", "0.05 USD at stake", "No callback", "No answer came in time"):
        assert words in page, words


@pytest.mark.parametrize(
    ("form", "state"),
    [
        ({"decision": "not_charged", "typed": "Not submitted", "why": "looked"}, State.FAILED),
        ({"decision": "resubmit", "typed": "submit again"}, State.QUEUED),
        ({"decision": "charged"}, State.FAILED),
    ],
)
def test_a_person_says_what_became_of_it(
    console: Console, ledger: Ledger, rung: list[str], form: dict[str, str], state: State
):
    generation_id = unconfirmed(ledger)
    form = {**form, "attempt": attempt_on(console)}
    answer = console.send("/operate/unconfirmed", f"/operate/unconfirmed/{generation_id}", **form)
    assert generation_id in console.told(answer)
    assert state_of(ledger, generation_id) is state
    assert "dispatch" in rung
    (*_, last) = ledger.generations.transitions_of([generation_id])[generation_id]
    assert "resolved by local" in last.cause


def attempt_on(console: Console) -> str:
    """The submission that the forms of the page are about."""
    found = re.search(r'name="attempt" value="([^"]+)"', console.get("/operate/unconfirmed").text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("decision", ["resubmit", "not_charged", "charged"])
def test_a_page_from_before_decides_nothing_about_the_submission_that_followed(
    console: Console, ledger: Ledger, decision: str
):
    generation_id = unconfirmed(ledger)
    old = {"once": once_of(console.get("/operate/unconfirmed")), "attempt": attempt_on(console)}
    words = {"resubmit": "submit again", "not_charged": "not submitted"}.get(decision, "")
    again = {"attempt": old["attempt"], "decision": "resubmit", "typed": "submit again"}
    console.send("/operate/unconfirmed", f"/operate/unconfirmed/{generation_id}", **again)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("no answer", code="read_timeout"))], POLL_AFTER)
    for form in (old, {"once": old["once"]}):
        sent = {**form, "decision": decision, "typed": words}
        answer = console.post(f"/operate/unconfirmed/{generation_id}", sent)
        assert answer.status_code == 422
        assert "it was submitted again" in text_of(answer)
        assert state_of(ledger, generation_id) is State.UNCONFIRMED


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"decision": "resubmit", "typed": "yes"}, "Type the words <code>submit again</code>"),
        ({"decision": "not_charged"}, "Type the words <code>not submitted</code>"),
        ({"decision": "task", "task_id": " "}, "Enter the id of the task at the provider"),
        ({"decision": "perhaps"}, "Choose what happened to it"),
    ],
)
def test_without_its_confirmation_nothing_is_resolved(
    console: Console, ledger: Ledger, form: dict[str, str], words: str
):
    generation_id = unconfirmed(ledger)
    answer = console.send("/operate/unconfirmed", f"/operate/unconfirmed/{generation_id}", **form)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert state_of(ledger, generation_id) is State.UNCONFIRMED


def test_the_provider_is_asked_at_once(console: Console, ledger: Ledger, rung: list[str], clock: FakeClock):
    generation_id = unconfirmed(ledger)
    assert ledger.submissions.claim_polls(9, LEASE, POLL_AFTER) == []
    console.send("/operate/unconfirmed", "/operate/unconfirmed/ask", generation=generation_id)
    assert "poll" in rung
    (asked,) = ledger.submissions.claim_polls(9, LEASE, POLL_AFTER)
    assert asked.generation_id == generation_id


def test_a_callback_is_shown_as_it_came_without_its_secrets(console: Console, ledger: Ledger):
    number = unreadable(
        ledger,
        f'{{"url": "https://cdn.example/a.png?token=secret-of-somebody", "b": "{"x" * 20}"}}'.encode(),
        headers={"X-Signature": "very-secret", "Content-Type": "application/json"},
    )
    page = text_of(console.get(f"/operate/dead/callbacks/{number}"))
    assert "application/json" in page
    assert "xxxxx" in page
    assert "very-secret" not in page
    assert "secret-of-somebody" not in page
    assert console.get("/operate/dead/callbacks/99999").status_code == 404


def test_a_dead_letter_is_replayed_or_discarded_with_a_name(console: Console, ledger: Ledger, rung: list[str]):
    first, second = unreadable(ledger), unreadable(ledger)
    form = {"once": once_of(console.get("/operate/dead")), "action": "replay", "letter": f"callback:{first}"}
    assert "1 replayed" in console.told(console.post("/operate/dead", form))
    assert "ingest" in rung
    answer = console.send("/operate/dead", action="dismiss", letter=f"callback:{second}", why="not ours")
    assert "1 discarded" in console.told(answer)
    assert ledger.callbacks.dead() == []
    assert "local" in (ledger.callbacks.get(second)[1].error or "")
    assert console.send("/operate/restore", "/operate/dead", action="replay").status_code == 422
    # As a reload sends it: nothing more is replayed.
    rung.clear()
    console.post("/operate/dead", form)
    assert rung == []


def test_a_form_that_was_broken_off_is_not_told_as_if_it_had_done_nothing(console: Console, ledger: Ledger):
    letter = f"callback:{unreadable(ledger)}"
    form = {"once": once_of(console.get("/operate/dead")), "action": "dismiss", "letter": letter}
    with broken_off():
        console.post("/operate/dead", form)
    assert ledger.callbacks.dead() == []
    again = console.post("/operate/dead", form)
    assert again.status_code == 409
    assert "This form was sent before, and may have been carried out then; this time: " in text_of(again)
    console.send("/operate/accounts", "/operate/accounts/acedata/default", action="pause")
    resumed = {"once": once_of(console.get("/operate/accounts")), "action": "resume"}
    with broken_off():
        console.post("/operate/accounts/acedata/default", resumed)
    told = console.told(console.post("/operate/accounts/acedata/default", resumed))
    assert "was not paused. This form was sent before, and may have been carried out then." in told


def test_what_is_at_risk_shows_its_time_and_is_tried_now(
    console: Console, ledger: Ledger, rung: list[str], clock: FakeClock
):
    (claim,) = succeeded(ledger)
    clock.now = max(clock.now, ledger.assets.at_risk(datetime.max.replace(tzinfo=UTC))[0].deadline) - timedelta(
        minutes=30
    )
    page = text_of(console.get("/operate/at-risk"))
    assert claim.generation.id in page
    assert "30 min" in page
    answer = console.send("/operate/at-risk", f"/operate/at-risk/{claim.generation.id}")
    assert "are retried now" in console.told(answer)
    assert "archive" in rung


def test_what_has_failed_since_the_page_was_opened_is_not_paid_for_again(
    console: Console, ledger: Ledger, rung: list[str]
):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim, reason="server_error", message="oops")])
    answer = console.send("/operate/at-risk", f"/operate/at-risk/{claim.generation.id}")
    assert answer.status_code == 409
    assert "has no result that can be fetched" in text_of(answer)
    assert state_of(ledger, claim.generation.id) is State.FAILED
    assert "dispatch" not in rung


def test_an_account_is_paused_for_an_hour_and_resumed(console: Console, ledger: Ledger, rung: list[str]):
    assert "0 of" in text_of(console.get("/operate/accounts"))
    page = console.told(console.send("/operate/accounts", "/operate/accounts/acedata/default", action="pause"))
    assert "paused until" in page
    assert "Paused by local" in page
    queued(ledger)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    page = console.told(console.send("/operate/accounts", "/operate/accounts/acedata/default", action="resume"))
    assert "continues" in page
    assert "dispatch" in rung
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 1
    unknown = console.send("/operate/accounts", "/operate/accounts/acedata/nobody", action="pause")
    assert unknown.status_code == 503


def test_the_credit_is_asked_only_on_request(console: Console, here: Services, monkeypatch: pytest.MonkeyPatch):
    provider = here.provider("acedata")
    asked: list[str] = []
    monkeypatch.setattr(type(provider), "credit", lambda _: asked.append("asked") or "12.50 credits")
    console.get("/operate/accounts")
    assert asked == []
    assert "12.50 credits left" in text_of(console.get("/operate/accounts?credit=acedata/default"))


def test_workers_say_how_they_are_and_what_waits_for_them(console: Console, ledger: Ledger, clock: FakeClock):
    ledger.maintenance.beat("worker.6@old", 6)
    clock.advance(600)
    working(ledger)
    queued(ledger, 3)
    page = text_of(console.get("/operate/workers"))
    assert re.search(r"worker\.6@old.{0,400}Silent", page)
    assert re.search(r"worker\.7@here.{0,400}Working", page)
    assert re.search(r"dispatch</th><td class=\"number\">[1-9]", page)


def test_the_broker_may_be_away(console: Console, monkeypatch: pytest.MonkeyPatch):
    def away() -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr("tasks.usecases.workers.waiting", away)
    page = text_of(console.get("/operate/workers"))
    assert "The broker does not answer" in page
    assert '<td class="number">?</td>' in page


def subscriber(ledger: Ledger) -> None:
    row = {"kind": "webhook", "address": "https://shop.test/hooks/secret-path", "secrets": ["whsec_c2VjcmV0"]}
    ledger.events.add_subscriber(NewSubscriber(name="shop", created_by="me", **row))  # type: ignore[arg-type]


def test_a_subscriber_is_disabled_and_enabled_and_nothing_secret_is_shown(
    console: Console, ledger: Ledger, rung: list[str]
):
    subscriber(ledger)
    for path in ("/operate/subscribers", "/operate/subscribers/shop"):
        page = text_of(console.get(path))
        assert "shop.test" in page
        assert "secret-path" not in page
        assert "whsec" not in page
    page = console.told(console.send("/operate/subscribers/shop", action="disable", why="moving"))
    assert "Disabled by local: moving" in page
    assert ledger.events.claim(["shop"], 9, LEASE) == []
    assert "subscriber shop is disabled" in text_of(console.get("/operate")).lower()
    page = console.told(console.send("/operate/subscribers/shop", action="enable"))
    assert "Enabled" in page
    assert "notify" in rung
    assert console.get("/operate/subscribers/nobody").status_code == 404


def test_submissions_are_resumed_only_after_the_word_is_typed(
    console: Console, here: Services, monkeypatch: pytest.MonkeyPatch
):
    called: list[object] = []
    monkeypatch.setattr("tasks.usecases.restore.reconcile", lambda _, asked: called.append(asked))
    answer = console.send("/operate/restore", "/operate/restore/resume", typed="yes")
    assert answer.status_code == 422
    assert called == []


def test_spend_is_told_by_day_and_by_label(console: Console, ledger: Ledger):
    assert "Nothing was spent in this period" in text_of(console.get("/operate/spend"))
    page = text_of(console.get("/operate/spend?by=label:client"))
    assert "Nothing was spent" in page
    page = text_of(console.get("/operate/spend?by=colour"))
    assert "Cannot group by" in page
    assert 'aria-invalid="true"' in page


@pytest.mark.parametrize("part", PARTS)
def test_nothing_hostile_is_executed_and_no_secret_is_shown(console: Console, ledger: Ledger, part: str):
    unconfirmed(ledger, error=HOSTILE, key=HOSTILE[:60])
    number = unreadable(ledger, HOSTILE.encode())
    for path in (f"/operate{part}", f"/operate/dead/callbacks/{number}"):
        page = text_of(console.get(path))
        assert "<script>alert" not in page
        assert "secret-of-somebody" not in page


def test_lists_are_short_and_can_be_longer(console: Console, ledger: Ledger):
    uncertain = Uncertain("no answer", code="read_timeout")
    ledger.submissions.record([Submitted(one.attempt_id, uncertain) for one in claimed(ledger, 51)], POLL_AFTER)
    page = text_of(console.get("/operate/unconfirmed"))
    assert page.count("at stake</strong>") == 50
    assert 'href="/operate/unconfirmed?most=100"' in page
    assert text_of(console.get("/operate/unconfirmed?most=100")).count("at stake</strong>") == 51


def test_archived_ones_need_nobody(console: Console, ledger: Ledger):
    working(ledger)
    archived(ledger)
    assert "Nothing needs attention" in text_of(console.get("/operate"))


def test_what_people_do_is_in_the_action_log_and_what_only_looks_is_not(console: Console, ledger: Ledger):
    console.send("/operate/accounts", "/operate/accounts/acedata/default", action="pause")
    console.send("/operate/restore", "/operate/restore")
    (done,) = [one for one in ledger.access.actions() if one.door == "console"]
    assert (done.actor, done.action, done.subject) == (
        "local",
        "POST /operate/accounts/<provider>/<account>",
        "acedata",
    )
    assert done.status == 303


def test_a_budget_names_its_provider_as_other_pages_do(
    services_for: Callable[..., Services], rung: list[str], tmp_path: Path
) -> None:
    assert rung == []
    prices = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\ncaps: {providers: {acedata: 5}}\n"
    (tmp_path / "prices.yaml").write_text(prices)
    app = create_app(services_for(darkroom_prices=tmp_path / "prices.yaml"))
    page = app.test_client().get("/operate/spend", headers={"Accept": "text/html"}, base_url="http://127.0.0.1:80")
    assert "<strong>Ace Data Cloud today</strong>" in page.text
