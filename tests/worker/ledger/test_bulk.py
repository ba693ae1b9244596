"""Rows that are written at once are as the drivers would have written them one by one, or none is written."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tests.clock import NOON
from tests.factories import LEASE, POLL_AFTER, all_stored, claimed, state_of, stored, submitted, succeeded, task_of
from worker.generation import Accepted, AttemptState, State
from worker.ledger import Ledger
from worker.ledger.assets import Archived
from worker.ledger.database import RowsChanged
from worker.ledger.schema import NEVER, assets, attempts, events
from worker.ledger.statements import Change, insert_rows, together, update_rows
from worker.ledger.submission import Submitted

TEXTS = ["", "a fox", "Füchse 🦊", "'; DROP TABLE events --", "100 % of %s and %(x)s ? :x {}", "a\x00b", "\ud800",
         '"\\u0000"', "\n\t\x1f", "123", "null", "[1]"]  # fmt: skip
TIMES = [NOON, NEVER, datetime(1970, 1, 1, tzinfo=UTC), NOON + timedelta(microseconds=1), None]
NUMBERS = [0, 1, -(2**31), 2**63 - 1, None]
LENGTHS = [5.04, 1 / 3, 0.1, 1e-9, 123456789.123, None]


def test_what_is_written_at_once_is_what_single_rows_would_be(ledger: Ledger):
    (claim,) = succeeded(ledger)
    mine = {"generation_id": claim.generation.id, "kind": "image", "state": "waiting", "tries": 0, "renewals": 0}
    rows = [
        {"url": text, "content": {"text": text}, "deadline": TIMES[place % 4], "not_before": TIMES[place % 5],
         "bytes": NUMBERS[place % 5], "seconds": LENGTHS[place % 6], "error": text or None}
        for place, text in enumerate(TEXTS)
    ]  # fmt: skip
    with ledger.database.write() as connection:
        connection.execute(assets.delete())
        connection.execute(assets.insert(), [{**mine, **row, "index": 2 * place} for place, row in enumerate(rows)])
        insert_rows(connection, assets, [{**mine, **row, "index": 2 * place + 1} for place, row in enumerate(rows)])
        found = [row._asdict() for row in connection.execute(select(assets).order_by(assets.c.index))]
        for one, same in zip(found[::2], found[1::2], strict=True):
            assert {**same, "id": one["id"], "index": one["index"]} == one
        # Each row gets what the one after it has.
        moved = [rows[(place + 1) % len(rows)] for place in range(len(rows))]
        update_rows(
            connection,
            assets,
            [
                Change({"id": row["id"], "not_before": row["not_before"]}, new)
                for row, new in zip(found[1::2], moved, strict=True)
            ],
        )
        again = [row._asdict() for row in connection.execute(select(assets).order_by(assets.c.index))]
    before, after = found[::2], again[1::2]
    for place, row in enumerate(after):
        assert {name: row[name] for name in rows[0]} == {
            name: before[(place + 1) % len(rows)][name] for name in rows[0]
        }


def test_rows_are_numbered_in_their_order(ledger: Ledger):
    rows = [{"at": NOON, "type": f"event {number}", "payload": {}} for number in range(300)]
    with ledger.database.write() as connection:
        insert_rows(connection, events, rows)
        found = connection.execute(select(events.c.type).order_by(events.c.id)).scalars().all()
    assert found == [row["type"] for row in rows]


def test_a_row_that_is_not_as_it_was_read_lets_none_be_written(ledger: Ledger):
    first, second = (claim.attempt_id for claim in claimed(ledger, 2))
    wanted = [
        Change({"id": first, "task_id": None}, {"task_id": "t1"}),
        Change({"id": second, "task_id": "t"}, {"task_id": "t2"}),
    ]

    def write() -> None:
        with ledger.database.write() as connection:
            update_rows(connection, attempts, wanted)

    with pytest.raises(RowsChanged, match="1 of 2 rows of attempts"):
        write()
    with ledger.database.read() as connection:
        assert connection.execute(select(attempts.c.task_id)).scalars().all() == [None, None]


def test_one_bad_row_leaves_a_group_unwritten_and_keeps_no_other_from_being_written(ledger: Ledger):
    """Callers that are refused a group write each of it by itself (`drain`, `tasks.outcomes`)."""
    claims = [claim.generation.id for claim in succeeded(ledger, 3)]
    taken = {claim.generation.id: claim for claim in ledger.assets.claim(3, LEASE)}
    done = [all_stored(taken[generation_id]) for generation_id in claims]
    # More than 64 bits: it must not be rounded either.
    done[1] = Archived(done[1].claim, (replace(stored(), bytes=2**70),), described=True)
    for group in (done, done[1:2]):
        with pytest.raises((OverflowError, DBAPIError)):
            ledger.assets.record(group)
        assert {one.state for one in ledger.generations.get(claims)} == {State.SUCCEEDED}
    for one in (done[0], done[2]):
        assert ledger.assets.record([one]) == {one.claim.generation.id}
    assert [state_of(ledger, one) for one in claims] == [State.ARCHIVED, State.SUCCEEDED, State.ARCHIVED]


def test_a_group_whose_rows_were_changed_is_written_once_more_and_then_one_by_one():
    def write_except(refused: dict[str, int], some: Sequence[str]) -> list[str]:
        tried.append("".join(some))
        for one in some:
            if refused.get(one, 0) > 0:
                refused[one] -= 1
                raise RowsChanged(one)
        return [one.upper() for one in some]

    tried: list[str] = []
    assert together(partial(write_except, {"b": 1}), "abc") == ["A", "B", "C"]
    assert tried == ["abc", "abc"]
    tried.clear()
    assert together(partial(write_except, {"b": 2}), "abc") == ["A", "B", "C"]
    assert tried == ["abc", "abc", "a", "b", "c"]
    tried.clear()
    with pytest.raises(RowsChanged, match="b"):
        together(partial(write_except, {"b": 9}), "abc")
    assert tried == ["abc", "abc", "a", "b", "c"]


def test_two_of_a_group_that_pass_a_task_id_on_are_written(ledger: Ledger):
    """The database refuses them together: one is written before the other has let go of it."""
    first, second, third = submitted(ledger, 3)
    a = attempts.c
    with ledger.database.write() as connection:
        connection.execute(update(attempts).values(state=AttemptState.UNCERTAIN))
        connection.execute(update(attempts).where(a.id == first.attempt_id).values(state=AttemptState.ABANDONED))
        connection.execute(update(attempts).where(a.id != first.attempt_id).values(task_id=None))
    said = {third.attempt_id: task_of(third), first.attempt_id: "another", second.attempt_id: task_of(first)}
    ledger.submissions.record([Submitted(one, Accepted(told)) for one, told in said.items()], POLL_AFTER)
    with ledger.database.read() as connection:
        found = dict(map(tuple, connection.execute(select(a.id, a.task_id))))
    assert found == said
