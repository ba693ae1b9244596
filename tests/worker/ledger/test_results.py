"""A batch's results: in the order of the user's rows, whatever happened in between."""

from dataclasses import replace

import pytest
from sqlalchemy import insert

from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, failure, new, queued, success
from tests.worker.ledger.purses import NO_CAP
from worker.generation import GenerationRequest, Operation
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration, ResultColumns, results
from worker.ledger.lineage import dedupe_of_follow_up
from worker.ledger.schema import labels
from worker.ledger.submission import Submitted


def row(number: int, key: str, **facts: object) -> NewGeneration:
    return replace(new(f"prompt of {key}", key=key), row_number=number, input={"sku": f"s{number}", **facts})


def child(parent_id: str, action: str, batch_id: str | None) -> NewGeneration:
    request = GenerationRequest(operation=Operation.UPSCALE, prompt="", action=action)
    dedupe = dedupe_of_follow_up(parent_id, action)
    return NewGeneration(
        provider=PROVIDER, request=request, parent_id=parent_id, depth=1, batch_id=batch_id, dedupe=dedupe
    )


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_PAGE", 2)
    monkeypatch.setattr(results, "_ROWS_PAGE", 2)


def test_rows_come_in_the_order_of_the_file_and_follow_ups_behind_their_parent(ledger: Ledger) -> None:
    rows = [row(3, "c"), row(1, "a"), row(2, "b/1"), row(2, "b/2"), new("by hand"), new("by hand too", key="z")]
    made = ledger.generations.create(rows, "shop")
    by_key = {one.key: one for one in made}
    batch_id = made[0].batch_id
    (outside,) = ledger.generations.create([new("elsewhere", key="elsewhere")])
    first, second = ledger.generations.create(
        [child(by_key["a"].id, "upscale2", batch_id), child(by_key["a"].id, "upscale1", batch_id)]
    )
    ledger.generations.create([child(first.id, "video", batch_id), child(by_key["c"].id, "reroll", None)])
    ledger.generations.create([child(outside.id, "reroll", batch_id)])
    found = list(ledger.generations.results(str(batch_id)))
    assert [(one.lineage.root_key, one.actions) for one in found] == [
        ("a", ()),
        ("a", ("upscale2",)),
        ("a", ("upscale2", "video")),
        ("a", ("upscale1",)),
        ("b/1", ()),
        ("b/2", ()),
        ("c", ()),
        (None, ()),
        ("z", ()),
        ("elsewhere", ("reroll",)),
    ]
    assert [one.root.key for one in found[:4]] == ["a"] * 4
    assert found[3].generation.id == second.id


def test_each_has_its_files_its_cost_and_its_labels(ledger: Ledger) -> None:
    made = queued(ledger, 3, batch="shop")
    batch_id = str(made[0].batch_id)
    ledger.dispatch.run(PROVIDER, PLENTY, NO_CAP)
    claims = {claim.generation.id: claim for claim in ledger.submissions.claim(2, LEASE)}
    first, second = (claims[one.id] for one in made[:2])
    ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in (first, second)], POLL_AFTER)
    ledger.generations.apply_outcomes([success(first, links=2), failure(second)])
    with ledger.database.write() as connection:
        connection.execute(insert(labels), [{"generation_id": made[2].id, "name": "client", "value": "acme"}])
    found = list(ledger.generations.results(batch_id))
    assert [[asset.index for asset in one.assets] for one in found] == [[0, 1], [], []]
    # Paid, given back, and reserved.
    assert [one.cost for one in found] == [1, 0, 0]
    assert [one.labels for one in found] == [{}, {}, {"client": "acme"}]
    columns = ledger.generations.result_columns(batch_id)
    assert columns == ResultColumns(inputs=(), labels=("client",), files=2)


def test_columns_are_those_of_all_rows_in_the_order_of_their_first_use(ledger: Ledger) -> None:
    rows = [row(2, "b", colour="red"), row(1, "a"), row(3, "c", size="XL")]
    (batch_id,) = {one.batch_id for one in ledger.generations.create(rows, "shop")}
    assert ledger.generations.result_columns(str(batch_id)).inputs == ("sku", "colour", "size")
