"""Unconfirmed submissions without a command line."""

import pytest

from tasks.usecases.person import person
from tasks.usecases.resolve import Decision, ResolveRequest, list_unconfirmed, resolve
from tasks.usecases.selection import Selection
from tests.tasks.cli import stories
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services

BY = person("ada", " looked  at\nthe dashboard ")


def test_what_is_known_of_an_unconfirmed_submission(here: Services, ledger: Ledger) -> None:
    generation_id = stories.unconfirmed(ledger)
    (found,) = list_unconfirmed(here)
    assert found.unclear.generation.id == generation_id
    assert (found.is_over, found.horizon_at) == (False, found.unclear.sent_at + here.settings.horizon)
    # Without a callback URL its list shows nothing that is ours but the request itself.
    assert found.is_looked_for
    assert list_unconfirmed(here, "kie") == ()
    with pytest.raises(ConfigurationError, match="unknown provider 'nobody'"):
        list_unconfirmed(here, "nobody")


def test_what_a_person_found_out_is_done_once_and_kept_with_the_name(here: Services, ledger: Ledger) -> None:
    generation_id = stories.unconfirmed(ledger)
    resolved = resolve(here, ResolveRequest(Selection(names=(generation_id, generation_id)), Decision.RESUBMIT, BY))
    assert (resolved.generation_ids, resolved.wakes) == ((generation_id,), ("dispatch",))
    assert resolved.message == "queued: it will be submitted again"
    (move,) = ledger.generations.transitions_of([generation_id])[generation_id][-1:]
    assert (move.to_state, move.cause) == (State.QUEUED, "resolved by ada: resubmit (looked at the dashboard)")


def test_one_that_is_not_unconfirmed_keeps_all_from_being_resolved(here: Services, ledger: Ledger) -> None:
    unclear, failed = stories.unconfirmed(ledger), stories.failed(ledger)
    with pytest.raises(RequestInvalid, match=f"{failed} is failed, not unconfirmed"):
        resolve(here, ResolveRequest(Selection(names=(unclear, failed)), Decision.NOT_CHARGED, BY))
    assert ledger.generations.get([unclear])[0].state is State.UNCONFIRMED
