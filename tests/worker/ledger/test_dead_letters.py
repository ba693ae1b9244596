"""What nobody can ever apply is dismissed: all that is named, or nothing, and with who and why."""

import pytest

from tests.factories import LEASE, delivery, submitted
from worker.errors import CallbackUnreadable, NotFound
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.notifying import Handed
from worker.ledger.outcome import News

SOMEBODY = Person("ada on desk", "a scanner sent it \x00 %s {}")


def set_aside(ledger: Ledger, attempt_id: str) -> int:
    ledger.callbacks.store([delivery(attempt_id)])
    (stored,) = ledger.callbacks.claim(1, LEASE)
    ledger.outcomes.apply([News(attempt_id, CallbackUnreadable("no JSON"), "callback", callback_id=stored.id)])
    return stored.id


def refused(ledger: Ledger, name: str, error: str = "no more") -> int:
    (mine,) = ledger.notifying.claim([name], 1, LEASE)
    ledger.notifying.feed(mine, lambda _: True)
    handed = ledger.notifying.step(mine, LEASE)
    assert handed is not None
    ledger.notifying.step(mine, LEASE, Handed(handed, error, final=True))
    return handed.event_id


def test_what_is_dismissed_leaves_the_list_and_stays_in_the_story(ledger: Ledger):
    ledger.notifying.register(["{a}", "b"])
    (claim,) = submitted(ledger)
    callback, event_id = set_aside(ledger, claim.attempt_id), refused(ledger, "{a}")
    assert refused(ledger, "b", "") == event_id
    assert [one.generation_id for one in ledger.callbacks.dead()] == [claim.generation.id]
    ledger.dead_letters.dismiss([callback], [(event_id, "{a}"), (event_id, "b")], SOMEBODY)
    assert ledger.callbacks.dead() == ledger.dead_letters.events(10) == []
    story = ledger.queries.story(claim.generation.id)
    (note,) = story.callbacks
    said = "(dismissed by ada on desk: a scanner sent it \ufffd %s {})"
    assert (note.verdict, note.error) == ("dismissed", f"no JSON {said}")
    assert [(one.subscriber, one.state, one.error) for one in story.undelivered] == [
        ("b", "dismissed", f" {said}"),
        ("{a}", "dismissed", f"no more {said}"),
    ]


def test_one_that_is_not_in_the_list_changes_nothing(ledger: Ledger):
    ledger.notifying.register(["a"])
    (claim,) = submitted(ledger)
    callback, event_id = set_aside(ledger, claim.attempt_id), refused(ledger, "a")
    for callbacks, events, words in (
        ([callback, 10**15], [], f"no callback {10**15}"),
        ([callback], [(event_id, "a"), (event_id + 1, "a")], f"no event {event_id + 1} for a "),
        ([callback], [(event_id, "b")], f"no event {event_id} for b "),
    ):
        with pytest.raises(NotFound, match=words):
            ledger.dead_letters.dismiss(callbacks, events, SOMEBODY)
    assert [one.id for one in ledger.callbacks.dead()] == [callback]
    assert [one.event_id for one in ledger.dead_letters.events(10)] == [event_id]
    ledger.dead_letters.dismiss([callback], [], SOMEBODY)
    with pytest.raises(NotFound):
        ledger.dead_letters.dismiss([callback], [], SOMEBODY)
