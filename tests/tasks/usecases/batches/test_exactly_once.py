"""Whatever is submitted in whatever order, and wherever that is interrupted: each version of a row is there once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.usecases.batches.submit import submit_batch
from tests.examples import examples
from tests.tasks.usecases.batches.sheets import request, row
from tests.worker.ledger.test_bites import INSERT, Killed, at_statement, die
from worker.errors import RequestInvalid
from worker.ledger.database import bites
from worker.ledger.generations.unfinished import ABANDONED
from worker.ledger.schema import metadata
from worker.services import Services

BITE = 2
KEYS = ("1", "2", "3", "4", None)
WORDS = ("fox", "owl")


class Step(NamedTuple):
    """`rows`: key and prompt; `dies_at`: in which of its transactions."""

    rows: Sequence[tuple[str | None, str]]
    new_version: bool
    dies_at: int | None


def sheets() -> st.SearchStrategy[list[tuple[str | None, str]]]:
    rows = st.tuples(st.sampled_from(KEYS), st.sampled_from(WORDS))
    return st.lists(rows, min_size=1, max_size=7, unique_by=lambda row: row if row[0] is None else row[0])


STEPS = st.lists(
    st.builds(Step, rows=sheets(), new_version=st.booleans(), dies_at=st.none() | st.integers(1, 4)),
    min_size=1,
    max_size=5,
)


@pytest.fixture
def small_bites(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for size in ("FIRST", "LEAST", "MOST"):
        monkeypatch.setattr(bites, size, BITE)
    monkeypatch.setattr(bites, "PAUSE", 0)
    # The leftovers of one that has died are taken over at once, or nobody would wait for them.
    monkeypatch.setattr("worker.ledger.generations.unfinished.STALLED", -ABANDONED)
    return


def submit(here: Services, step: Step) -> bool:
    """Whether it was refused."""
    wanted = [row(number, key, prompt) for number, (key, prompt) in enumerate(step.rows, start=1)]
    try:
        submit_batch(here, request(content=wanted, new_version=step.new_version), wanted, rows=len(wanted))
    except RequestInvalid:
        return True
    return False


@pytest.mark.usefixtures("small_bites")
@given(steps=STEPS)
@settings(max_examples=examples(25))
def test_each_version_of_a_row_is_there_once(here: Services, steps: list[Step]) -> None:
    with here.ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    #: what must be there: key → prompts in the order of their versions; prompts of rows without a key
    versions: dict[str, list[str]] = {}
    for step in steps:
        if step.dies_at is not None:
            with at_statement(here.ledger, INSERT, step.dies_at, die), suppress(Killed):
                submit(here, step)
        is_changed = any(key in versions and prompt not in versions[key] for key, prompt in step.rows)
        assert submit(here, step) == (is_changed and not step.new_version)
        if is_changed and not step.new_version:
            continue
        for key, prompt in step.rows:
            if key is not None and prompt not in versions.setdefault(key, []):
                versions[key].append(prompt)
        found = here.ledger.generations.page(limit=1000)
        keyed = [(one.key, one.row_version, one.prompt) for one in found if one.key is not None]
        assert sorted(keyed) == sorted(
            (key, number, prompt) for key, all_of in versions.items() for number, prompt in enumerate(all_of, start=1)
        )
        assert max(Counter(one.prompt for one in found if one.key is None).values(), default=1) == 1
        assert len({one.batch_id for one in found}) == 1
