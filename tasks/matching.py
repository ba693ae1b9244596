"""Which tasks of a provider's list are submissions that carried no mark: told by the request, which the list shows.

Identical requests are interchangeable: of n submissions and k tasks, k are found and n-k stay unclear. Where somebody
else may have sent the same request nothing is decided, and the tasks are candidates for a person to look at.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest

from worker.ledger.generations import EARLIER, LATER, WithoutTask
from worker.providers import ListedTask, Shown

#: of one submission
MOST_CANDIDATES = 20


@dataclass(slots=True)
class Matches:
    """By attempt: the task that it is; tasks of which one may be it. `later`: attempts to look for once more soon."""

    found: dict[str, ListedTask] = field(default_factory=dict)
    candidates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)


def match(
    submissions: Sequence[WithoutTask],
    requests: Mapping[str, Shown],
    tasks: Sequence[ListedTask],
    *,
    since: datetime,
    is_shared: bool,
) -> Matches:
    """`requests`: what the list would show of each submission, by attempt; `tasks`: those of which nobody knows whose.

    `since`: how far back the list was read. `is_shared`: others use the same account.
    """
    matches = Matches()
    alike: defaultdict[str, list[WithoutTask]] = defaultdict(list)
    for one in submissions:
        # Not all tasks of an earlier one were read: it would take another one's, which could not take its own then.
        is_covered = one.is_sending or one.sent_at - EARLIER >= since
        if is_covered and (request := requests.get(one.attempt_id)):
            alike[request.text].append(one)
    made: defaultdict[str, list[ListedTask]] = defaultdict(list)
    # Each once: while somebody submits, a task moves on to the next page and is read again.
    for task in {task.outcome.task_id: task for task in tasks}.values():
        if task.request is not None:
            made[task.request.text].append(task)
    for text, group in alike.items():
        if any(one.is_sending for one in group):
            # Which of the tasks is its own the reply will tell.
            matches.later.update(one.attempt_id for one in group)
            continue
        is_certain = not is_shared and all(requests[one.attempt_id].is_all for one in group)
        pairs = _pairs(group, made[text]) if is_certain else None
        if pairs is None:
            matches.candidates.update({one.attempt_id: _near(one, made[text]) for one in group})
        else:
            matches.found.update(pairs)
    return matches


def _pairs(group: Sequence[WithoutTask], tasks: Sequence[ListedTask]) -> dict[str, ListedTask] | None:
    """Each task and the submission that it is; None if somebody else must have made one of them."""
    dated = [(task.created_at, task) for task in tasks if task.created_at is not None]
    if len(dated) < len(tasks):
        return None
    waiting = sorted(group, key=lambda one: one.sent_at)
    pairs = {}
    # All have the same time to be made in, so the first for the first is as good as any other order.
    for _, task in sorted(dated, key=lambda pair: pair[0]):
        mine = next((one for one in waiting if _fits(one, task)), None)
        if mine is None:
            return None
        waiting.remove(mine)
        pairs[mine.attempt_id] = task
    return pairs


def _near(one: WithoutTask, tasks: Sequence[ListedTask]) -> tuple[str, ...]:
    """Those that were made nearest to its time, and no more than a person can look at."""
    possible = (task for task in tasks if task.created_at is None or _fits(one, task))
    found = nsmallest(MOST_CANDIDATES, possible, key=lambda task: abs((task.created_at or one.sent_at) - one.sent_at))
    return tuple(str(task.outcome.task_id) for task in found)


def _fits(one: WithoutTask, task: ListedTask) -> bool:
    return task.created_at is not None and one.sent_at - EARLIER <= task.created_at <= one.sent_at + LATER
