"""What PostgreSQL cannot store but JSON from outside may carry, NUL and halves of surrogate pairs: nothing is lost."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.factories import (
    LEASE,
    POLL_AFTER,
    all_stored,
    claimed,
    delivery,
    failure,
    new,
    one,
    progress,
    queued,
    stored,
    submitted,
    succeeded,
    success,
)
from worker.errors import CallbackUnreadable, NotTaken, Rejected, Uncertain
from worker.generation import Accepted, GenerationRequest, Link, Operation, State
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost, Postponed
from worker.ledger.generations import NewGeneration
from worker.ledger.outcome import News
from worker.ledger.submission import Submitted

NASTY = "a\x00b\ud83d c\udc00 \U0001f98a ünï ' \" % :x \\ \u202e"
CLEAN = "a\ufffdb? c? \U0001f98a ünï ' \" % :x \\ \u202e"


def test_a_request(ledger: Ledger):
    request = GenerationRequest(
        operation=Operation.UPSCALE, prompt=NASTY, options={NASTY: [NASTY]}, action=NASTY, parent={"image_id": NASTY}
    )
    wanted = NewGeneration(provider="acedata", request=request, key=NASTY, dedupe=f"key/{NASTY}", follow_up=(NASTY,))
    (made,) = ledger.generations.create([wanted], batch=NASTY)
    found = one(ledger, made)
    assert (found.prompt, found.action, found.key) == (CLEAN, CLEAN, CLEAN)
    # JSON columns keep even what is no character.
    assert (found.options, found.parent_handle, found.follow_up) == ({NASTY: [NASTY]}, {"image_id": NASTY}, (NASTY,))
    assert [again.id for again in ledger.generations.create([wanted], batch=NASTY)] == [made.id]
    assert ledger.generations.page(batch=CLEAN) == [found]


def test_an_outcome(ledger: Ledger):
    won, lost = claimed(ledger, 2)
    link = (Link(f"https://cdn.example/{NASTY}"),)
    news = success(won, task_id=NASTY, actions=(NASTY,), parent={NASTY: NASTY})
    # A second delivery names the same task, so it is no mismatch.
    for _ in range(2):
        news = replace(news, outcome=replace(news.outcome, links=link))
        assert ledger.generations.apply_outcomes([news])[0] in {"applied", "ignored"}
    assert ledger.generations.apply_outcomes([failure(lost, task_id="t2", reason=NASTY, message=NASTY)]) == ["applied"]
    found = one(ledger, won)
    assert (found.task_id, found.actions, found.handle) == (CLEAN, (NASTY,), {NASTY: NASTY})
    assert ledger.generations.assets_of([found.id])[found.id][0].url == f"https://cdn.example/{CLEAN}"
    assert (one(ledger, lost).reason, one(ledger, lost).message) == (CLEAN, CLEAN)


def test_a_task_id_in_progress_and_in_a_mismatch(ledger: Ledger):
    (claim,) = claimed(ledger)
    assert ledger.generations.apply_outcomes([progress(claim, 5, task_id=NASTY)]) == ["applied"]
    assert ledger.generations.apply_outcomes([progress(claim, 9, task_id=NASTY)]) == ["applied"]
    assert ledger.generations.apply_outcomes([progress(claim, 9, task_id=f"{NASTY}!")]) == ["mismatch"]


@pytest.mark.parametrize("error", [NotTaken, Rejected, Uncertain])
def test_the_words_of_a_refusal(ledger: Ledger, error):
    (claim,) = claimed(ledger)
    refused = error(NASTY, code=NASTY, status=429, trace_id=NASTY)
    ledger.submissions.record([Submitted(claim.attempt_id, refused)], POLL_AFTER)
    assert one(ledger, claim).reason == CLEAN


def test_a_task_id_in_the_reply(ledger: Ledger):
    first, second = claimed(ledger, 2)
    ledger.submissions.record([Submitted(claim.attempt_id, Accepted(NASTY)) for claim in (first, second)], POLL_AFTER)
    assert (one(ledger, first).task_id, one(ledger, first).state) == (CLEAN, State.SUBMITTED)
    assert one(ledger, second).reason == "task_id_taken"
    assert ledger.generations.apply_outcomes([success(first, task_id=NASTY)]) == ["applied"]


def test_a_callback_and_why_it_was_unreadable(ledger: Ledger):
    ledger.callbacks.store([delivery("a1", NASTY.encode("utf-8", "surrogatepass"), headers={NASTY: NASTY})])
    (callback,) = ledger.callbacks.claim(1, LEASE)
    assert callback.body == NASTY.encode("utf-8", "surrogatepass")
    assert callback.headers == {NASTY: NASTY}
    unreadable = News(attempt_id="a1", outcome=CallbackUnreadable(NASTY), cause="callback", callback_id=callback.id)
    assert ledger.generations.apply_outcomes([unreadable]) == ["unreadable"]
    assert ledger.callbacks.dead()[0].error == CLEAN


def test_what_befell_an_asset(ledger: Ledger):
    succeeded(ledger, 2)
    first, second = ledger.assets.claim(2, LEASE)
    ledger.assets.record([Archived(first, (Postponed(index=0, error=NASTY),), described=False)])
    ledger.assets.record([Archived(second, (Lost(0, NASTY),), described=False)])
    assert ledger.generations.assets_of([first.generation.id])[first.generation.id][0].error == CLEAN
    assert one(ledger, second.generation).message == CLEAN


def test_a_name_in_the_bucket(ledger: Ledger):
    succeeded(ledger)
    (claim,) = ledger.assets.claim(1, LEASE)
    ledger.assets.record(
        [replace(all_stored(claim), results=(replace(stored(), object_key=NASTY, content_type=NASTY),))]
    )
    assert ledger.generations.assets_of([claim.generation.id])[claim.generation.id][0].object_key == CLEAN


def test_a_worker_and_a_page_of_nasty_names(ledger: Ledger):
    queued(ledger)
    ledger.maintenance.beat(NASTY, 1)
    ledger.maintenance.beat(NASTY, 2)
    assert [(beat.worker, beat.pid) for beat in ledger.maintenance.heartbeats()] == [(CLEAN, 2)]
    assert ledger.generations.page(batch=NASTY, before=NASTY) == []
    assert ledger.dispatch.resume_account(NASTY) == {}


@settings(max_examples=examples(60))
@given(words=st.text(st.characters()), more=st.dictionaries(st.text(), st.text() | st.none() | st.integers()))
def test_any_text_at_all(ledger: Ledger, words: str, more: dict):
    (made,) = ledger.generations.create([new(words, options=more)])
    found = one(ledger, made)
    assert found == made
    assert found.prompt == words.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    assert found.options == more


def test_a_failure_after_submission_is_stored_whatever_it_says(ledger: Ledger):
    (claim,) = submitted(ledger)
    assert ledger.generations.apply_outcomes([failure(claim, reason="\x00", message="\ud800" * 10_000)]) == ["applied"]
    assert one(ledger, claim).message == "?" * 10_000
