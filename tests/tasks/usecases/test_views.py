"""The one JSON shape of a generation for every front door."""

import json
from collections.abc import Iterator

import pytest

from tasks.usecases.views import of_generation, of_story, with_results
from tests.tasks.cli import stories
from worker.ledger import Ledger


@pytest.fixture
def our_ledger(sqlite_url: str) -> Iterator[Ledger]:
    ledger = Ledger(sqlite_url)
    yield ledger
    ledger.close()


def test_what_is_told_of_a_generation_grows_and_changes_no_name(our_ledger: Ledger) -> None:
    generation_id = stories.archived(our_ledger)
    story = our_ledger.generations.story(generation_id)
    short = of_generation(story.generation, story.lineage)
    longer = with_results(story.generation, story.lineage, story.assets, story.transitions)
    longest = of_story(story)
    assert short.items() <= longer.items()
    assert longer.items() <= longest.items()
    assert json.loads(json.dumps(longest))["assets"][0]["state"] == "stored"


def test_a_link_that_still_works_is_never_told(our_ledger: Ledger) -> None:
    story = our_ledger.generations.story(stories.succeeded(our_ledger))
    assert stories.SIGNATURE not in json.dumps(of_story(story))
