"""Submissions without a mark and the tasks of a list: which is which, and when nobody can tell."""

from collections import Counter
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks.matching import MOST_CANDIDATES, match
from tests.clock import NOON
from worker.generation import Generation, Operation, Outcome, Status
from worker.ledger.generations import EARLIER, LATER, WithoutTask
from worker.providers.listing import ListedTask, Shown

LONG_AGO = NOON - timedelta(days=1)
GENERATION = object.__new__(Generation)


def submission(name: str, minute: float = 0, *, is_sending: bool = False) -> WithoutTask:
    return WithoutTask(
        attempt_id=name,
        generation=GENERATION,
        sent_at=NOON + timedelta(minutes=minute),
        is_sending=is_sending,
        candidates=(),
    )


def task(name: str, minute: float | None = 0, request: str = "a cat") -> ListedTask:
    at = None if minute is None else NOON + timedelta(minutes=minute)
    outcome = Outcome(status=Status.IN_PROGRESS, task_id=name)
    return ListedTask(
        outcome=outcome,
        operation=Operation.IMAGINE,
        prompt=request,
        created_at=at,
        is_over=False,
        request=Shown(request),
    )


def found(
    submissions: list[WithoutTask], tasks: list[ListedTask], *, since: datetime = LONG_AGO, is_shared: bool = False
) -> dict[str, str | None]:
    requests = {one.attempt_id: Shown("a cat") for one in submissions}
    matches = match(submissions, requests, tasks, since=since, is_shared=is_shared)
    return {name: one.outcome.task_id for name, one in matches.found.items()}


def test_a_task_with_the_same_request_is_its_own():
    assert found([submission("a")], [task("1"), task("2", request="a dog")]) == {"a": "1"}


def test_of_identical_ones_as_many_are_found_as_there_are_tasks():
    three = [submission("a", 0), submission("b", 1), submission("c", 2)]
    assert found(three, [task("1", 1), task("2", 0.5)]) == {"a": "2", "b": "1"}


def test_a_task_too_many_is_somebody_elses_so_nothing_is_decided():
    one, tasks = submission("a"), [task("1"), task("2")]
    matches = match([one], {"a": Shown("a cat")}, tasks, since=LONG_AGO, is_shared=False)
    assert (matches.found, matches.candidates) == ({}, {"a": ("1", "2")})


def test_the_same_request_at_another_time_shows_that_somebody_else_sends_it_too():
    assert found([submission("a", 30)], [task("1", 30), task("2", 0)]) == {}


def test_on_an_account_that_others_use_nothing_is_decided():
    assert found([submission("a")], [task("1")], is_shared=True) == {}


def test_a_task_that_was_read_twice_is_one_task():
    """While somebody submits, the last of a page becomes the first of the next one."""
    assert found([submission("a")], [task("1"), task("1")]) == {"a": "1"}


def test_one_whose_own_tasks_were_not_all_read_takes_no_other_ones():
    """Its own task is older than what was read, and only fits itself."""
    early, late = submission("early", 0), submission("late", 10)
    assert found([early, late], [task("2", 11)], since=NOON + timedelta(minutes=5)) == {"late": "2"}
    assert found([early], [task("1", 1)]) == {"early": "1"}


def test_one_that_is_being_sent_counts_however_far_the_list_was_read():
    both = [submission("a", 10), submission("b", is_sending=True)]
    assert found(both, [task("1", 10)], since=NOON + timedelta(minutes=5)) == {}


def test_a_task_without_a_time_may_be_anybodys():
    matches = match([submission("a")], {"a": Shown("a cat")}, [task("1", None)], since=LONG_AGO, is_shared=False)
    assert (matches.found, matches.candidates) == ({}, {"a": ("1",)})


def test_what_the_list_does_not_show_whole_may_be_another_request():
    requests = {"a": Shown("a cat"), "b": Shown("a cat", is_all=False)}
    matches = match([submission("a"), submission("b")], requests, [task("1")], since=LONG_AGO, is_shared=False)
    assert (matches.found, matches.candidates) == ({}, {"a": ("1",), "b": ("1",)})


def test_while_an_identical_one_is_being_sent_it_is_looked_for_later():
    both = [submission("a"), submission("b", is_sending=True)]
    matches = match(both, dict.fromkeys("ab", Shown("a cat")), [task("1")], since=LONG_AGO, is_shared=False)
    assert (matches.found, matches.candidates, matches.later) == ({}, {}, {"a", "b"})


def test_of_very_many_that_it_may_be_the_nearest_are_kept():
    """Thousands of identical ones would otherwise be noted with each of thousands of tasks."""
    many = [task(str(number), number / 10) for number in range(-40, 100)]
    matches = match([submission("a")], {"a": Shown("a cat")}, many, since=LONG_AGO, is_shared=False)
    nearest = sorted(map(str, range(-40, 100)), key=lambda name: abs(int(name)))[:MOST_CANDIDATES]
    assert sorted(matches.candidates["a"]) == sorted(nearest)


def test_what_was_candidate_and_is_gone_is_none_any_more():
    matches = match([submission("a")], {"a": Shown("a cat")}, [], since=LONG_AGO, is_shared=True)
    assert matches.candidates == {"a": ()}


MINUTES = st.integers(-40, 40)


@given(
    sent=st.lists(st.tuples(st.sampled_from("xyz"), MINUTES), max_size=6),
    made=st.lists(st.tuples(st.sampled_from("xyz"), MINUTES), max_size=6),
)
def test_no_task_is_given_twice_and_each_was_made_in_its_submissions_time(
    sent: list[tuple[str, int]], made: list[tuple[str, int]]
):
    submissions = [submission(str(number), minute) for number, (_, minute) in enumerate(sent)]
    requests = {str(number): Shown(request) for number, (request, _) in enumerate(sent)}
    tasks = [task(str(number), minute, request) for number, (request, minute) in enumerate(made)]
    matches = match(submissions, requests, tasks, since=LONG_AGO, is_shared=False)
    times = {one.attempt_id: one.sent_at for one in submissions}
    assert max(Counter(one.outcome.task_id for one in matches.found.values()).values(), default=1) == 1
    for name, one in matches.found.items():
        assert one.request == requests[name]
        assert one.created_at is not None
        assert times[name] - EARLIER <= one.created_at <= times[name] + LATER
    for request in set("xyz"):
        names = [name for name, shown in requests.items() if shown.text == request]
        decided = sum(name in matches.found for name in names)
        # All of the tasks belong to these, or nobody knows which.
        assert decided in {0, sum(one == request for one, _ in made)}


def test_the_first_for_the_first_finds_a_place_for_each():
    """The early submission must not take the late task and leave the early task without one."""
    late = LATER / timedelta(minutes=1)
    both = [submission("a", 0), submission("b", 10)]
    assert found(both, [task("2", late + 5), task("1", late - 1)]) == {"a": "1", "b": "2"}
