"""What is left of a batch whose command died is removed, also when nobody repeats the command."""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import func, select

from tests.pipeline import Pipeline
from worker.ledger.schema import batches


def test_the_clock_removes_what_nobody_completes(start: Callable[..., Pipeline]):
    pipeline = start()
    database = pipeline.ledger.database
    long_ago = database.clock() - timedelta(hours=1)
    left = {"id": "batch_left", "name": "left", "created_at": long_ago}
    with database.write() as connection:
        connection.execute(batches.insert().values(left | {"unfinished": "a request", "unfinished_at": long_ago}))
    pipeline.step("reconcile")
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(batches)).scalar_one() == 0
