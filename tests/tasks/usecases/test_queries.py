"""What can be asked of the ledger without a command line: lists, one generation, what may be lost, what it cost."""

from datetime import timedelta

import pytest

from tasks.usecases.at_risk import at_risk
from tasks.usecases.names import short_id
from tasks.usecases.providers import describe_providers
from tasks.usecases.prune import prune
from tasks.usecases.queries import ListRequest, list_generations, show
from tasks.usecases.scope import BatchScope, FamilyScope, submitted, watched
from tasks.usecases.services import LedgerAlone
from tasks.usecases.spend import By, Dimension, SpendRequest, spend
from tests.tasks.cli import stories
from worker.errors import ConfigurationError, NotFound
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import load_settings


def test_a_list_is_narrowed_by_state_and_batch_and_names_what_each_waits_for(here: Services, ledger: Ledger) -> None:
    failed = stories.failed(ledger, batch="animals")
    queued = stories.queued(ledger, "an owl", "a bee", batch="animals")
    stories.queued(ledger, "of no batch")
    found = list(list_generations(here, ListRequest(state=State.QUEUED, batch="animals", limit=1)))
    assert [one.generation.id for one in found] == [queued[1].id]
    assert found[0].waits_for is not None
    assert found[0].waits_for.told.startswith("no worker is running")
    (first,) = list_generations(here, ListRequest(state=State.FAILED, with_results=True))
    assert (first.generation.id, first.waits_for) == (failed, None)
    assert [move.to_state for move in first.transitions][-1] is State.FAILED
    with pytest.raises(NotFound, match="there is no batch 'plants'"):
        list(list_generations(here, ListRequest(batch="plants")))


def test_the_details_of_a_generation_tell_when_it_is_asked_for_again(here: Services, ledger: Ledger) -> None:
    awaited = stories.timed_out(ledger)
    details = show(here, awaited)
    assert details.story.generation.id == awaited
    assert details.asked_again_at == ledger.generations.awaited([awaited])[awaited]


def test_what_dies_within_a_time_span_is_at_risk(here: Services, ledger: Ledger) -> None:
    generation_id = stories.succeeded(ledger)
    assert at_risk(here).assets == ()
    (risky,) = at_risk(here, timedelta(hours=48)).assets
    assert (risky.owner.id, risky.asset.index) == (generation_id, 0)
    assert timedelta(hours=20) < risky.left < timedelta(hours=24)


def test_what_is_watched_is_a_batch_or_generations(here: Services, ledger: Ledger) -> None:
    (one,) = stories.queued(ledger, batch="animals")
    assert isinstance(watched(here, ()), BatchScope)
    assert isinstance(watched(here, ("animals",)), BatchScope)
    assert isinstance(watched(here, (one.id,)), FamilyScope)
    assert isinstance(watched(here, (short_id(str(one.batch_id)),)), BatchScope)
    (keyed,) = stories.queued(ledger, key=str(one.batch_id)[:14])
    assert [found.id for found in watched(here, (str(keyed.key),)).some(9)] == [keyed.id]


def test_what_was_submitted_is_watched_as_a_batch_only_if_all_of_it_is_in_that(here: Services, ledger: Ledger) -> None:
    animals = stories.queued(ledger, "an owl", "a bee", batch="animals")
    (alone,) = stories.queued(ledger, "of no batch")
    assert isinstance(submitted(here, animals, animals[0].batch_id), BatchScope)
    assert isinstance(submitted(here, [*animals, alone], animals[0].batch_id), FamilyScope)
    assert isinstance(submitted(here, [alone], None), FamilyScope)


def test_without_prices_nothing_was_spent(here: Services) -> None:
    spending = spend(here, SpendRequest((Dimension(By.PROVIDER),)))
    assert (spending.prices, spending.rows, spending.total.total) == (None, (), 0)


def test_a_provider_without_its_key_says_what_is_missing() -> None:
    here = LedgerAlone(load_settings())
    (acedata,) = describe_providers(here, "acedata")
    assert "ACEDATACLOUD_API_TOKEN is not set" in str(acedata.missing)
    assert acedata.retention_days == 1
    with pytest.raises(ConfigurationError, match="unknown provider 'nobody'"):
        describe_providers(here, "nobody")
    here.close()


def test_nothing_is_pruned_where_everything_is_kept(here: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prune(here, dry_run=True).rows == {}
    monkeypatch.setenv("DARKROOM_KEEP_DAYS", "0")
    with pytest.raises(ConfigurationError, match="DARKROOM_KEEP_DAYS is 0"):
        prune(Services(load_settings()), dry_run=False)
