"""Matches submissions without a callback mark to tasks in a provider's list, by the request that the list shows.

Identical requests are interchangeable: given n submissions and k tasks, k are found and n-k stay unconfirmed. If
somebody else may have sent the same request, nothing is decided, and the tasks become candidates for a person.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest

from worker.ledger.generations import EARLIER, LATER, WithoutTask
from worker.providers import ListedTask, Shown

#: candidates per submission
MOST_CANDIDATES = 20


@dataclass(slots=True)
class Matches:
    """The task or the candidates of each attempt. `later`: attempts to look for again soon."""

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
    """Match `requests` (by attempt: the request as the list would show it) to `tasks` of unknown origin.

    `since`: how far back the list was read. `is_shared`: others use the same account.
    """
    matches = Matches()
    alike: defaultdict[str, list[WithoutTask]] = defaultdict(list)
    for one in submissions:
        # The list was not read back as far as an earlier attempt, which could be given another attempt's task.
        is_covered = one.is_sending or one.sent_at - EARLIER >= since
        if is_covered and (request := requests.get(one.attempt_id)):
            alike[request.text].append(one)
    made: defaultdict[str, list[ListedTask]] = defaultdict(list)
    # Deduplicate: a submission during the read may move a task to the next page, so that it is read twice.
    for task in {task.outcome.task_id: task for task in tasks}.values():
        if task.request is not None:
            made[task.request.text].append(task)
    for text, group in alike.items():
        if any(one.is_sending for one in group):
            # The reply will show which task it is.
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
    """Pair tasks with submissions; None if somebody else must have made one of the tasks."""
    dated = [(task.created_at, task) for task in tasks if task.created_at is not None]
    if len(dated) < len(tasks):
        return None
    waiting = sorted(group, key=lambda one: one.sent_at)
    pairs = {}
    # All have the same time window, so any order will do.
    for _, task in sorted(dated, key=lambda pair: pair[0]):
        mine = next((one for one in waiting if _fits(one, task)), None)
        if mine is None:
            return None
        waiting.remove(mine)
        pairs[mine.attempt_id] = task
    return pairs


def _near(one: WithoutTask, tasks: Sequence[ListedTask]) -> tuple[str, ...]:
    """Return the tasks created nearest to the submission, at most as many as a person can review."""
    possible = (task for task in tasks if task.created_at is None or _fits(one, task))
    found = nsmallest(MOST_CANDIDATES, possible, key=lambda task: abs((task.created_at or one.sent_at) - one.sent_at))
    return tuple(str(task.outcome.task_id) for task in found)


def _fits(one: WithoutTask, task: ListedTask) -> bool:
    return task.created_at is not None and one.sent_at - EARLIER <= task.created_at <= one.sent_at + LATER
