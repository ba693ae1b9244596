"""How many bytes a generation takes in the ledger for good: each column and index of it is paid for a million times."""

import hashlib
import json
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tasks.pruning import bites
from tests.clock import FakeClock
from tests.factories import LEASE, POLL_AFTER
from tests.worker.ledger.purses import NO_CAP
from worker.generation import Accepted, GenerationRequest, Link, Operation, Outcome, Status
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Stored
from worker.ledger.dispatch import Limits
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.generations import NewGeneration
from worker.ledger.maintenance import ledger_size
from worker.ledger.outcome import Delivery, News, StoredCallback
from worker.ledger.submission import Submitted

SHOP = "webhook:shop"
COUNT = 400
PICTURES = 4
#: bytes of each generation
MOST = {"sqlite": 5000, "postgresql": 6000}


@pytest.fixture
def ledger(fresh_ledger: Ledger) -> Ledger:
    return fresh_ledger


def body(attempt_id: str, state: str) -> bytes:
    """As long as one of Kie's."""
    return json.dumps({"code": 200, "data": {"taskId": attempt_id, "state": state, "pad": "x" * 900}}).encode()


def come(ledger: Ledger, attempt_id: str, state: str) -> Delivery:
    content = body(attempt_id, state)
    headers = {"Content-Type": "application/json", "User-Agent": "okhttp/4"}
    digest = hashlib.sha256(content).hexdigest()
    return Delivery(
        attempt_id=attempt_id,
        provider="kie",
        received_at=ledger.database.clock(),
        remote_address="10.0.0.1",
        headers=headers,
        body=content,
        digest=digest,
    )


def read(ledger: Ledger, callback: StoredCallback) -> News:
    task_id = f"task{callback.attempt_id}"
    if b"success" not in callback.body:
        return News(
            attempt_id=callback.attempt_id,
            outcome=Outcome(status=Status.IN_PROGRESS, task_id=task_id, progress=50),
            cause="callback",
            deadlines=(),
            callback_id=callback.id,
        )
    links = tuple(
        Link(f"https://tempfile.example/m/{callback.attempt_id}_{index}.jpeg?ex=691f00aa&is=691eaf2a&hm={'0' * 64}")
        for index in range(PICTURES)
    )
    deadlines = (ledger.database.clock() + timedelta(hours=24),) * PICTURES
    outcome = Outcome(status=Status.SUCCEEDED, task_id=task_id, links=links)
    return News(
        attempt_id=callback.attempt_id, outcome=outcome, cause="callback", deadlines=deadlines, callback_id=callback.id
    )


def go_their_way(ledger: Ledger, count: int) -> None:
    """With key and price, two callbacks, four pictures each, and one subscriber who is told."""
    ledger.events.register_subscribers([SHOP])
    prompt = "a lighthouse in the fog, number {}, cinematic, 35mm --ar 16:9"
    requests = {
        f"k{number}": GenerationRequest(operation=Operation.IMAGINE, prompt=prompt.format(number))
        for number in range(count)
    }
    wanted = [NewGeneration(provider="kie", request=request, key=key, dedupe=key) for key, request in requests.items()]
    ledger.generations.create(wanted, "lighthouses")
    ledger.dispatch.run("kie", Limits(10**6, 10**6), NO_CAP)
    claims = ledger.submissions.claim(count, LEASE)
    assert len(claims) == count
    ledger.submissions.record(
        [Submitted(one.attempt_id, Accepted(f"task{one.attempt_id}")) for one in claims], POLL_AFTER
    )
    ledger.callbacks.store([come(ledger, one.attempt_id, state) for one in claims for state in ("waiting", "success")])
    while found := ledger.callbacks.claim(200, LEASE):
        ledger.generations.apply_outcomes([read(ledger, one) for one in found])
    while lent := ledger.assets.claim(100, LEASE):
        ledger.assets.record([
            Archived(claim, tuple(
                Stored(index=asset.index, object_key=f"2026/11/28/lighthouses/{claim.generation.key}/{asset.index}.png",
                       sha256=hashlib.sha256(f"{claim.generation.id}{asset.index}".encode()).hexdigest(),
                       bytes=1_500_000, content_type="image/png", width=1024, height=1024)
                for asset in claim.assets
            ), described=True)
            for claim in lent
        ])  # fmt: skip
    (mine,) = ledger.events.claim([SHOP], 1, LEASE)
    handed = None
    while (event := ledger.events.record_and_claim_next(mine, LEASE, handed)) or ledger.events.enqueue_new(
        mine, DeliveryFilter()
    ):
        handed = Handed(event) if event else None
    ledger.events.release(mine)
    # As the sweep does each second.
    ledger.maintenance.fold_counts()


def compact(ledger: Ledger) -> int:
    """Bytes of all tables without what is free in them."""
    if ledger.database.is_sqlite:
        engine = create_engine(ledger.database.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM"))
        engine.dispose()
    else:
        url = ledger.database.url.replace("postgresql+psycopg", "postgresql")
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute("VACUUM FULL")
    return sum(table.bytes or 0 for table in ledger_size(ledger.database).tables)


@pytest.mark.system
def test_after_a_month_a_generation_with_four_pictures_is_small(ledger: Ledger, clock: FakeClock):
    empty = compact(ledger)
    go_their_way(ledger, COUNT)
    assert ledger.generations.counts() == {"archived": COUNT}
    before = (compact(ledger) - empty) / COUNT
    clock.advance(days=40)
    for _ in bites(ledger, clock() - timedelta(days=30), archive=None):
        pass
    after = (compact(ledger) - empty) / COUNT
    assert after <= MOST["sqlite" if ledger.database.is_sqlite else "postgresql"]
    assert after < 0.6 * before
