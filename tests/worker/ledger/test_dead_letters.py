"""What nobody can ever apply is dismissed: all that is named, or nothing, and with who and why."""

import pytest

from tests.factories import LEASE, delivery, submitted
from worker.errors import CallbackUnreadable, NotFound
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.outcome import News

SOMEBODY = Person("ada on desk", "a scanner sent it \x00 %s {}")


def set_aside(ledger: Ledger, attempt_id: str) -> int:
    ledger.callbacks.store([delivery(attempt_id)])
    (stored,) = ledger.callbacks.claim(1, LEASE)
    ledger.generations.apply_outcomes(
        [News(attempt_id=attempt_id, outcome=CallbackUnreadable("no JSON"), cause="callback", callback_id=stored.id)]
    )
    return stored.id


def refused(ledger: Ledger, name: str, error: str = "no more") -> int:
    (mine,) = ledger.events.claim([name], 1, LEASE)
    ledger.events.enqueue_new(mine, DeliveryFilter())
    handed = ledger.events.record_and_claim_next(mine, LEASE)
    assert handed is not None
    ledger.events.record_and_claim_next(mine, LEASE, Handed(handed, error, final=True))
    return handed.event_id


def test_what_is_dismissed_leaves_the_list_and_stays_in_the_story(ledger: Ledger):
    ledger.events.register_subscribers(["{a}", "b"])
    (claim,) = submitted(ledger)
    callback, event_id = set_aside(ledger, claim.attempt_id), refused(ledger, "{a}")
    assert refused(ledger, "b", "") == event_id
    assert [one.generation_id for one in ledger.callbacks.dead()] == [claim.generation.id]
    ledger.events.dismiss([callback], [(event_id, "{a}"), (event_id, "b")], SOMEBODY)
    assert ledger.callbacks.dead() == ledger.events.dead(10) == []
    story = ledger.generations.story(claim.generation.id)
    (note,) = story.callbacks
    said = "(dismissed by ada on desk: a scanner sent it \ufffd %s {})"
    assert (note.verdict, note.error) == ("dismissed", f"no JSON {said}")
    assert [(one.subscriber, one.state, one.error) for one in story.undelivered] == [
        ("b", "dismissed", f" {said}"),
        ("{a}", "dismissed", f"no more {said}"),
    ]


def test_one_that_is_not_in_the_list_changes_nothing(ledger: Ledger):
    ledger.events.register_subscribers(["a"])
    (claim,) = submitted(ledger)
    callback, event_id = set_aside(ledger, claim.attempt_id), refused(ledger, "a")
    for callbacks, events, words in (
        ([callback, 10**15], [], f"no dead callback {10**15}"),
        ([callback], [(event_id, "a"), (event_id + 1, "a")], f"no dead event {event_id + 1} for a"),
        ([callback], [(event_id, "b")], f"no dead event {event_id} for b"),
    ):
        with pytest.raises(NotFound, match=words):
            ledger.events.dismiss(callbacks, events, SOMEBODY)
    assert [one.id for one in ledger.callbacks.dead()] == [callback]
    assert [one.event_id for one in ledger.events.dead(10)] == [event_id]
    ledger.events.dismiss([callback], [], SOMEBODY)
    with pytest.raises(NotFound):
        ledger.events.dismiss([callback], [], SOMEBODY)
