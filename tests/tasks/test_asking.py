"""Questions about many tasks: pages as large as the provider takes, and no failure that spoils the others."""

from collections.abc import Collection

import pytest

from tasks import asking
from tasks.asking import ask
from worker.errors import QueryFailed
from worker.generation import Outcome, Status


class Vendor:
    """Knows the tasks that do not begin with `x`; fails for pages with a `!`."""

    name = "vendor"

    def __init__(self, fetch_limit: int) -> None:
        self.fetch_limit = fetch_limit
        self.asked: list[tuple[str, ...]] = []

    def fetch(self, task_ids: Collection[str]) -> dict[str, Outcome]:
        self.asked.append(tuple(task_ids))
        if "!" in task_ids:
            raise QueryFailed("away", code="read_timeout")
        return {one: Outcome(status=Status.IN_PROGRESS, task_id=one) for one in task_ids if not one.startswith("x")}


@pytest.mark.parametrize(("limit", "pages"), [(1, 5), (2, 3), (50, 1)])
def test_every_task_is_asked_for_once_in_pages(limit: int, pages: int):
    vendor = Vendor(limit)
    answers = ask(vendor, list("abcde"))
    assert sorted("".join("".join(page) for page in vendor.asked)) == list("abcde")
    assert len(vendor.asked) == pages
    assert answers.outcomes.keys() == set("abcde")


def test_what_was_not_answered_is_neither_known_nor_unknown():
    answers = ask(Vendor(1), ["a", "!", "x1"])
    assert answers.outcomes.keys() == {"a"}
    assert answers.unknown == {"x1"}


def test_nothing_new_is_asked_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "PATIENCE", -1)
    vendor = Vendor(1)
    answers = ask(vendor, ["a", "b"])
    assert (vendor.asked, answers.outcomes, answers.unknown) == ([], {}, frozenset())


def test_asking_for_nothing_asks_nothing():
    vendor = Vendor(1)
    assert ask(vendor, []).outcomes == {}
    assert vendor.asked == []
