"""What a person may call a generation or a batch."""

import pytest

from tasks.usecases.names import find_batch, find_generation, find_generations, is_key, newest_batch, short_id
from tests.factories import new
from tests.tasks.cli import stories
from worker.errors import NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.ledger.generations import FileBatch


def test_an_id_a_key_a_short_id_and_a_beginning_name_the_same_generation(ledger: Ledger) -> None:
    (fox,) = stories.queued(ledger, "a fox", key="B-0042")
    (owl,) = stories.queued(ledger, "an owl")
    for name in (fox.id, "B-0042", short_id(fox.id), fox.id[:24], fox.id.removeprefix("gen_")[:20]):
        assert find_generation(ledger, name) == fox.id
    assert find_generations(ledger, ["B-0042", owl.id, fox.id]) == [fox.id, owl.id]


def test_a_key_that_looks_like_a_part_of_an_id_is_a_key(ledger: Ledger) -> None:
    (fox,) = stories.queued(ledger, "a fox")
    (owl,) = stories.queued(ledger, "an owl", key=fox.id[:12])
    assert find_generation(ledger, fox.id[:12]) == owl.id


def test_several_that_may_be_meant_are_listed_and_none_is_taken(ledger: Ledger) -> None:
    fox, owl = stories.queued(ledger, "a fox", stories.LINK)
    with pytest.raises(RequestInvalid) as refused:
        find_generation(ledger, "gen_0")
    first, *candidates = str(refused.value).splitlines()
    assert first == "several generations match 'gen_0'; give more of its id:"
    assert [line.split()[:2] for line in candidates] == [[owl.id, "queued"], [fox.id, "queued"]]
    assert candidates[1].split("  ")[3:] == ["a fox", candidates[1].split("  ")[4]]
    assert candidates[1].endswith(" ago")
    assert stories.SIGNATURE not in str(refused.value)


def test_a_long_list_of_candidates_ends_somewhere(ledger: Ledger) -> None:
    stories.queued(ledger, *(f"fox {number}" for number in range(20)))
    with pytest.raises(RequestInvalid) as refused:
        find_generation(ledger, "gen_0")
    assert len(str(refused.value).splitlines()) == 10
    assert str(refused.value).endswith("  …")


def test_what_nobody_has_is_told_with_what_would_be_accepted(ledger: Ledger) -> None:
    (fox,) = stories.queued(ledger, batch="shop")
    with pytest.raises(
        NotFound, match="there is no generation '0042': give its key, BATCH/KEY, its id, a part of its id"
    ):
        find_generations(ledger, [fox.id, "0042"])
    with pytest.raises(NotFound, match="there is no generation 'shop', but a batch: `darkroom list --batch shop`"):
        find_generation(ledger, "shop")
    with pytest.raises(NotFound, match="there is no generation 'shop', but a batch: use --batch shop"):
        find_generations(ledger, ["shop"], has_batch_option=True)
    with pytest.raises(NotFound, match="there is no batch 'shops'"):
        find_batch(ledger, "shops")


def test_two_batches_of_one_name_are_told_apart(ledger: Ledger) -> None:
    first, second = (str(stories.queued(ledger, batch="shop")[0].batch_id) for _ in range(2))
    with pytest.raises(RequestInvalid) as refused:
        find_batch(ledger, "shop")
    head, *candidates = str(refused.value).splitlines()
    assert head == "several batches match 'shop'; give its id:"
    assert [line.split()[:4] for line in candidates] == [[one, "shop", "1", "generation"] for one in (second, first)]
    for batch_id in (first, second):
        assert find_batch(ledger, batch_id) == find_batch(ledger, short_id(batch_id)) == batch_id
    assert newest_batch(ledger, "shop").id == second


def test_a_key_of_several_batches_is_listed_and_batch_and_key_name_one(ledger: Ledger) -> None:
    shop, fair = (
        ledger.generations.write_rows(
            FileBatch(name=name, source=f"{name}.csv", source_sha256=name),
            [new(key="0042", dedupe=f"batch:{name}:0042", row_number=1, row_sha256="a")],
        ).ids[f"batch:{name}:0042"]
        for name in ("shop", "a/fair")
    )
    with pytest.raises(RequestInvalid) as refused:
        find_generation(ledger, "0042")
    head, *candidates = str(refused.value).splitlines()
    assert head == "several generations have the key '0042'; give BATCH/KEY, or its id:"
    assert [(line.split()[0], line.rpartition("  in ")[2]) for line in candidates] == [(fair, "a/fair"), (shop, "shop")]
    assert find_generation(ledger, "shop/0042") == shop
    assert find_generation(ledger, "a/fair/0042") == fair
    assert is_key(ledger, "shop/0042")
    assert not is_key(ledger, "shop/42")


def test_of_several_versions_of_a_row_the_newest_is_meant(ledger: Ledger) -> None:
    rows = [new(key="0042", dedupe=f"batch:shop:0042:{n}", row_number=1, row_sha256="a", row_version=n) for n in (1, 2)]
    written = ledger.generations.write_rows(FileBatch(name="shop", source="shop.csv", source_sha256="s"), rows)
    assert find_generation(ledger, "0042") == find_generation(ledger, "shop/0042") == written.ids["batch:shop:0042:2"]
