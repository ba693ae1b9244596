"""Fourteen hours without a bucket, while links of 24 hours and of 15 days come in: the order of archiving decides.

72 hours of 0.6 pictures a second, half of them with links of 24 hours; 0.5 a second can be archived, except in the
14 hours of the outage.
"""

import heapq
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import bindparam, select, text

from tests.clock import FakeClock
from tests.factories import LEASE, all_stored, submitted, success
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost, archiving
from worker.ledger.rows import GENERATION, GenerationRow
from worker.ledger.schema import UNSTORED, assets, generations
from worker.ledger.statements import LIMIT, Query

HOUR = 3600
SHORT, LONG = 24 * HOUR, 15 * 24 * HOUR
OUTAGE = range(20 * HOUR, 34 * HOUR)
ARRIVALS_END = 72 * HOUR

_first_come = Query(
    GenerationRow,
    select(*GENERATION)
    .where(
        generations.c.id.in_(
            select(assets.c.generation_id)
            .where(text(UNSTORED), assets.c.not_before.is_(None), assets.c.deadline <= bindparam("dies_by"))
            .order_by(assets.c.id)
            .limit(bindparam("links"))
        )
    )
    .order_by(generations.c.id)
    .limit(LIMIT),
)


def expired(*, earliest_deadline_first: bool) -> int:
    """How many of 155,520 pictures are lost; the time goes in steps of ten seconds."""
    waiting: list[tuple[int, int, int]] = []
    lost = number = 0
    now = 0
    while waiting or now < ARRIVALS_END:
        if now < ARRIVALS_END:
            for _ in range(6):
                deadline = now + (SHORT if number % 2 else LONG)
                heapq.heappush(waiting, (deadline if earliest_deadline_first else number, number, deadline))
                number += 1
        if now not in OUTAGE:
            done = 0
            while waiting and done < 5:
                _, _, deadline = heapq.heappop(waiting)
                if deadline < now:
                    lost += 1
                else:
                    done += 1
        now += 10
    assert number == 155_520
    return lost


def test_of_155520_pictures_none_is_lost_by_deadline_and_thousands_in_order_of_arrival():
    assert expired(earliest_deadline_first=True) == 0
    assert expired(earliest_deadline_first=False) > 5000


@pytest.mark.parametrize("first_come", [False, True], ids=["earliest deadline first", "first in, first out"])
def test_the_ledger_gives_out_what_dies_first(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, first_come: bool
):
    """The same in steps of two hours, with one picture for 400."""
    if first_come:
        monkeypatch.setattr(archiving, "_MOST_URGENT", _first_come)
    hours = 0
    while hours < 72 or ledger.maintenance.is_due("archive"):
        if hours < 72:
            for number, claim in enumerate(submitted(ledger, 11 if hours % 10 else 10)):
                life = timedelta(seconds=SHORT if number % 2 else LONG)
                ledger.generations.apply_outcomes([replace(success(claim), deadlines=(clock() + life,))])
        if hours * HOUR not in OUTAGE:
            claims = ledger.assets.claim(9, LEASE)
            dead = [claim for claim in claims if claim.assets[0].deadline < clock()]
            ledger.assets.record(
                [
                    Archived(one, (Lost(0, "dead"),), described=False) if one in dead else all_stored(one)
                    for one in claims
                ]
            )
        clock.advance(hours=2)
        hours += 2
    lost = ledger.generations.counts().get(State.EXPIRED, 0)
    assert lost > 5 if first_come else lost == 0
