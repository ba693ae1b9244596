"""`--follow-up` goes through the planner of recipes, and creates what it has always created."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.children import child_of
from tasks.recipe_steps import plan_short_form
from tests.examples import examples
from tests.factories import archived, one
from worker.generation import Generation, Operation, operation_of
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration, dedupe_of_follow_up
from worker.providers import provider_class
from worker.services import Services
from worker.settings import load_settings

#: without what is refused before it is created: there is no video to extend, and a region needs a mask
ACTIONS = sorted(
    name
    for operation, capability in provider_class("acedata").capabilities.items()
    if operation not in (Operation.VIDEO_EXTEND, Operation.REGION)
    for name in capability.actions
)
FAMILIES = [
    f"{family}:all" for family in ("upscale", "variation", "pan", "zoom", "reroll", "video", "blend", "imagine")
]
STEP = st.sampled_from([*ACTIONS, *FAMILIES, "split"])
ITEMS = st.lists(st.lists(STEP, min_size=1, max_size=3).map("/".join), min_size=1, max_size=6, unique=True)


def before_there_were_recipes(
    parent: Generation, offered: Sequence[str], *, limit: int
) -> tuple[list[NewGeneration], list[str]]:
    """The code of that time."""
    wanted: dict[str, list[str]] = {}
    refused = []
    for item in parent.follow_up:
        step, _, rest = item.partition("/")
        family, colon, _ = step.partition(":")
        if colon:
            actions = [action for action in offered if operation_of(action) == family]
        else:
            actions = [step] if step in offered else []
        if not actions:
            refused.append(f"{step} is not offered; offered: {', '.join(offered) or 'nothing'}")
        for action in actions:
            wanted.setdefault(action, []).extend([rest] if rest else [])
    refused += [f"{action} would be more than the {limit} follow-ups allowed" for action in list(wanted)[limit:]]
    children = [
        child_of(parent, action, tuple(then), dedupe_of_follow_up(parent.id, action))
        for action, then in list(wanted.items())[:limit]
    ]
    return children, refused


@pytest.fixture
def here(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "t")
    monkeypatch.setenv("DARKROOM_MAX_FOLLOW_UPS", "5")
    with closing(Services(load_settings())) as services:
        yield services


@pytest.fixture
def parent(here: Services) -> Generation:
    return one(here.ledger, *archived(here.ledger, follow_up=("upscale1",)))


@settings(max_examples=examples(400))
@given(items=ITEMS, offered=st.lists(st.sampled_from(ACTIONS), unique=True, max_size=12))
def test_it_plans_what_the_code_before_recipes_created(
    here: Services, parent: Generation, items: list[str], offered: list[str]
) -> None:
    parent = replace(parent, follow_up=tuple(items), actions=tuple(offered))
    is_grid = {"upscale1", "upscale2", "upscale3", "upscale4"} <= set(offered)
    expected, refused = before_there_were_recipes(parent, [*offered, *(["split"] if is_grid else [])], limit=5)
    planned = plan_short_form(here, parent)
    assert planned.children[:5] == expected
    told = [f"{child.request.action} would be more than the 5 follow-ups allowed" for child in planned.children[5:]]
    assert planned.refused + told == refused


def test_nothing_is_deeper_than_allowed(here: Services, parent: Generation) -> None:
    deep = replace(parent, depth=3, actions=("upscale1",))
    planned = plan_short_form(here, deep)
    assert (planned.children, planned.refused) == ([], ["follow-ups may not be deeper than 3"])


def test_twice_in_a_row_it_creates_nothing_more(here: Services, ledger: Ledger) -> None:
    (made,) = archived(ledger, follow_up=("upscale:all/upscale_2x",))
    parent = one(ledger, made)
    planned = plan_short_form(here, parent)
    assert [child.follow_up for child in planned.children] == [("upscale_2x",)] * 2
    made = [ledger.generations.create_follow_ups(parent, planned.children, planned.refused, most=5) for _ in range(2)]
    assert made == [2, 0]
