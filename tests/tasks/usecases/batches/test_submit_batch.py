"""Submitting a file: each row of each version once, whatever was submitted before and wherever that was interrupted."""

from datetime import UTC, datetime

import pytest

from tasks.usecases.batches.submit import BatchSubmitted, submit_batch
from tasks.usecases.entry_check import Defaults
from tests.tasks.usecases.batches.sheets import request, row
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import State
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.services import Services


def submit(here: Services, *wanted: NewGeneration, name: str = "shop.csv", **facts: object) -> BatchSubmitted:
    return submit_batch(here, request(name, wanted, **facts), wanted, rows=len(wanted))


def counts(result: BatchSubmitted) -> tuple[int, int]:
    return result.created, result.existing


def prompts(here: Services) -> list[tuple[str | None, int, str]]:
    return sorted((one.key, one.row_version, one.prompt) for one in here.ledger.generations.page(limit=500))


def test_the_same_file_again_adds_only_what_is_new(here: Services) -> None:
    fox, owl, hare = row(1, "1", "a fox"), row(2, "2", "an owl"), row(3, "3", "a hare")
    first = submit(here, fox, owl)
    again = submit(here, fox, owl)
    more = submit(here, hare, owl, fox)
    assert [counts(one) for one in (first, again, more)] == [(2, 0), (0, 2), (1, 2)]
    assert {one.batch_id for one in (first, again, more)} == {first.batch_id}
    assert again.ids == first.ids
    assert more.ids[1:] == first.ids[::-1]
    assert more.new_ids == {more.ids[0]}
    assert here.ledger.generations.counts() == {State.QUEUED: 3}


def test_rows_without_keys_are_told_by_what_stands_in_them_and_how_often(here: Services) -> None:
    fox, owl = row(1, None, "a fox"), row(2, None, "an owl")
    assert counts(submit(here, fox, owl)) == (2, 0)
    assert counts(submit(here, owl, fox)) == (0, 2)
    assert counts(submit(here, fox, owl, fox)) == (1, 2)
    assert [one.prompt for one in here.ledger.generations.page()] == ["a fox", "an owl", "a fox"]


def test_a_key_is_unique_only_within_its_batch(here: Services) -> None:
    single = NewGeneration(provider="acedata", request=row(1, "1").request, key="1", dedupe=dedupe_of("1"))
    here.ledger.generations.create([single])
    shop = submit(here, row(1, "1"))
    fair = submit(here, row(1, "1", "an owl"), name="fair.csv")
    assert [counts(one) for one in (shop, fair)] == [(1, 0), (1, 0)]
    assert len(prompts(here)) == 3


def test_a_name_and_a_key_cannot_imitate_those_of_another_batch(here: Services) -> None:
    results = [
        submit(here, row(1, key), name=name)
        for name, key in [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", "b%3Ac"), ("a", "b:c:v2"), ("a", "~x-1")]
    ]
    assert [one.created for one in results] == [1] * 6


def test_the_same_file_under_another_name_is_another_batch_that_names_the_earlier_one(here: Services) -> None:
    first = submit(here, row(1, "1"))
    second = submit_batch(here, request("other.csv", (row(1, "1"),)), [row(1, "1")], rows=1)
    assert first.same_file == ()
    assert [(one.id, one.name) for one in second.same_file] == [(first.batch_id, "shop")]
    assert second.created == 1
    assert second.batch_id != first.batch_id


def test_a_changed_row_is_refused_with_both_versions_and_nothing_is_written(here: Services) -> None:
    submit(here, row(1, "1", "a red fox"), row(2, "2"))
    with pytest.raises(RequestInvalid) as refused:
        submit(here, row(1, "1", "a blue fox"), row(2, "2"), row(3, "3"))
    first, changed, remedy = str(refused.value).splitlines()
    assert first == "1 row was changed since the batch 'shop' was submitted (before → now):"
    assert changed == "  row 1, key '1': prompt: 'a red fox' → 'a blue fox'"
    assert remedy.startswith("nothing was written: --new-version submits the changed rows again")
    assert here.ledger.generations.counts() == {State.QUEUED: 2}


def test_a_new_version_is_made_of_the_changed_rows_only_and_once(here: Services) -> None:
    submit(here, row(1, "1", "a red fox"), row(2, "2"))
    changed = (row(1, "1", "a blue fox"), row(2, "2"))
    second = submit(here, *changed, new_version=True)
    assert (counts(second), second.versions) == ((1, 1), 1)
    assert counts(submit(here, *changed, new_version=True)) == counts(submit(here, *changed)) == (0, 2)
    # An earlier version of it is there as well, so nobody pays for it again.
    assert counts(submit(here, row(1, "1", "a red fox"))) == (0, 1)
    third = submit(here, row(1, "1", "a green fox"), new_version=True)
    assert counts(third) == (1, 0)
    assert prompts(here)[:3] == [("1", 1, "a red fox"), ("1", 2, "a blue fox"), ("1", 3, "a green fox")]


def test_a_row_that_expands_is_one_row_whatever_it_is_expanded_to(here: Services) -> None:
    two = [row(1, "1", choice=n, sent=f"fox {n}") for n in (1, 2)]
    assert counts(submit(here, *two)) == (2, 0)
    more = [row(1, "1", choice=n, sent=f"fox {n}") for n in (1, 2, 3)]
    assert counts(submit(here, *more)) == (1, 2)
    changed = [row(1, "1", "another", choice=n, sent=f"cat {n}") for n in (1, 2)]
    with pytest.raises(RequestInvalid, match="2 rows were changed"):
        submit(here, *changed)
    assert counts(submit(here, *changed, new_version=True)) == (2, 0)
    # A row that does not expand any more is the same row, too.
    with pytest.raises(RequestInvalid, match="1 row was changed"):
        submit(here, row(1, "1", "no choice"))


def test_a_key_with_a_slash_is_not_taken_for_a_choice(here: Services) -> None:
    assert counts(submit(here, row(1, "1/2", "a fox"))) == (1, 0)
    assert counts(submit(here, row(1, "1/2", "a fox"), row(2, "1", "an owl"))) == (1, 1)


def test_options_that_existing_rows_do_not_have_are_named(here: Services) -> None:
    submit(here, row(1, "1"))
    wanted = row(1, "1", provider="kie", providers=("acedata",), options={"mode": "turbo"}, labels={"client": "acme"})
    result = submit_batch(
        here,
        request(
            content=(row(1, "1"),),
            providers=("kie", "acedata"),
            defaults=Defaults(labels={"client": "acme"}),
            max_in_flight=5,
            start_at=datetime(2030, 1, 1, tzinfo=UTC),
        ),
        [wanted],
        rows=1,
    )
    assert counts(result) == (0, 1)
    assert result.unapplied == (
        "--start-at 2030-01-01T00:00:00+00:00 (the batch has none)",
        "--max-in-flight 5 (the batch has none)",
        "--provider kie,acedata",
        "--label client=acme",
    )
    assert submit(here, row(1, "1")).unapplied == ()


def test_a_limit_of_the_cost_needs_prices(here: Services) -> None:
    with pytest.raises(ConfigurationError, match="--max-cost needs prices: name a price file in DARKROOM_PRICES"):
        submit(here, row(1, "1"), max_cost=5_000_000)
    assert here.ledger.generations.counts() == {}


def test_a_dry_run_counts_and_writes_nothing(here: Services) -> None:
    submit(here, row(1, "1"))
    wanted = [row(1, "1"), row(2, "2")]
    result = submit_batch(here, request(content=wanted), wanted, rows=3, invalid=1, dry_run=True)
    assert (counts(result), result.rows, result.invalid, result.is_dry_run) == ((1, 1), 3, 1, True)
    assert here.ledger.generations.counts() == {State.QUEUED: 1}


def test_what_an_older_version_wrote_under_these_keys_is_not_paid_for_again(here: Services) -> None:
    old = [
        NewGeneration(provider="acedata", request=row(1, key, f"fox {key}").request, key=key, dedupe=dedupe_of(key))
        for key in "123"
    ]
    made = here.ledger.generations.create(old[:2], "shop")
    here.ledger.generations.create(old[2:], "elsewhere")
    rows = [row(n, str(n), f"fox {n}") for n in (1, 2, 3)]
    result = submit(here, *rows)
    assert (counts(result), result.batch_id) == ((1, 2), made[0].batch_id)
    assert result.ids[:2] == (made[0].id, made[1].id)
    assert counts(submit(here, *rows)) == (0, 3)
    with pytest.raises(RequestInvalid, match="prompt: 'fox 1' → 'an owl'"):
        submit(here, row(1, "1", "an owl"))
    assert counts(submit(here, row(1, "1", "an owl"), new_version=True)) == (1, 0)
    assert counts(submit(here, row(1, "1", "an owl"))) == (0, 1)


def test_a_file_needs_a_name_and_a_key_is_there_once(here: Services) -> None:
    with pytest.raises(RequestInvalid, match="the name of the batch is empty"):
        submit(here, row(1, "1"), name=" ")
    with pytest.raises(RequestInvalid, match="the key '1' is used twice"):
        submit(here, row(1, "1"), row(2, "1"))
