"""Part of a batch is chosen by state, provider and key."""

import pytest

from tasks.usecases.selection import Selection, select
from tests.factories import archived, claimed, failure, new, queued, submitted
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import State
from worker.ledger import Ledger

QUEUED = [State.QUEUED]


def test_a_batch_is_narrowed_by_keys_and_their_follow_ups_belong_to_them(ledger: Ledger) -> None:
    wanted = [new(f"fox {key}", key=key) for key in ("B-1", "B-2", "F-1")]
    first, second, other = ledger.generations.create(wanted, "shop")
    (upscale,) = ledger.generations.create([new(action="upscale1", parent_id=first.id, batch_id=first.batch_id)])
    found = select(ledger, Selection(batch="shop", key="B-*"), QUEUED)
    assert set(found.ids) == {first.id, second.id, upscale.id}
    for batch in (None, "shop"):
        assert set(select(ledger, Selection(batch=batch, key="B-1"), QUEUED).ids) == {first.id, upscale.id}
    (elsewhere,) = queued(ledger, batch="other", key="B-9")
    assert select(ledger, Selection(batch="shop", key="B-9"), QUEUED).ids == []
    assert select(ledger, Selection(batch="other", key="B-9"), QUEUED).ids == [elsewhere.id]
    assert select(ledger, Selection(key="b-*"), QUEUED).ids == []
    assert select(ledger, Selection(key="F-?"), QUEUED).ids == [other.id]


def test_a_provider_and_a_state_narrow_it_too(ledger: Ledger) -> None:
    (mine,) = queued(ledger)
    ledger.generations.create([new(provider="kie")])
    assert select(ledger, Selection(provider="acedata"), QUEUED).ids == [mine.id]
    assert len(select(ledger, Selection(states=(State.QUEUED,)), QUEUED).ids) == 2
    assert select(ledger, Selection(states=(State.FAILED,)), QUEUED).ids == []
    with pytest.raises(ConfigurationError, match="unknown provider 'nobody'"):
        select(ledger, Selection(provider="nobody"), QUEUED)


@pytest.mark.parametrize("key", [None, "B-*"])
def test_what_is_left_alone_is_counted_by_state(ledger: Ledger, key: str | None) -> None:
    (done,) = archived(ledger, key="B-1", batch="shop")
    batch_id = ledger.generations.newest_batch("shop")
    ledger.generations.apply_outcomes([failure(claim) for claim in claimed(ledger, key="B-2", batch_id=batch_id)])
    submitted(ledger, key="B-3", batch_id=batch_id)
    if key is not None:
        archived(ledger, key="F-1", batch_id=batch_id)
    waiting = queued(ledger, key="B-4", batch_id=batch_id)
    found = select(ledger, Selection(batch="shop", key=key), QUEUED, others=True)
    assert found.ids == [one.id for one in waiting]
    assert found.left == {State.ARCHIVED: 1, State.FAILED: 1, State.SUBMITTED: 1}
    found = select(ledger, Selection(batch="shop", key=key, states=(State.ARCHIVED,)), QUEUED, others=True)
    assert (found.ids, found.left) == ([], {State.ARCHIVED: 1})
    assert select(ledger, Selection(names=("B-1",)), QUEUED, others=True).ids == [done]


def test_names_and_filters_exclude_each_other() -> None:
    for wrong in ({}, {"names": ("gen_1",), "batch": "shop"}, {"names": ("gen_1",), "states": (State.QUEUED,)}):
        with pytest.raises(RequestInvalid, match="give either GENERATIONs, or any of --batch"):
            Selection(**wrong)  # type: ignore[arg-type]
