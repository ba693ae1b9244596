"""Imports tasks from a provider's list into the ledger, with their outcomes."""

import logging
from collections.abc import Mapping, Sequence

from tasks.outcomes import news_of
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.generation import GenerationRequest, Status, Verdict
from worker.ledger.generations import Orphan, Place, Placed
from worker.pricing import Prices
from worker.providers import ListedTask
from worker.secrets import described
from worker.services import Services

log = logging.getLogger(__name__)


def orphan_of(task: ListedTask) -> Orphan:
    request = GenerationRequest(operation=task.operation, prompt=task.prompt, action=task.action, parent=task.parent)
    return Orphan(
        task_id=str(task.outcome.task_id),
        request=request,
        created_at=task.created_at,
        attempt_id=task.attempt_id,
        marked=bool(task.marks),
    )


def has_result(task: ListedTask) -> bool:
    """Return whether the task has a result, or will have one: a failed or unreadable task has nothing to archive."""
    status = task.outcome.status
    return status is Status.SUCCEEDED or (status is Status.IN_PROGRESS and not task.is_over)


def adopt(
    here: Services,
    whose: tuple[str, str],
    tasks: Sequence[ListedTask],
    waiting: Mapping[str, str] | None = None,
    *,
    cause: str,
    prices: Prices | None = None,
) -> list[tuple[Placed, bool]]:
    """Import the tasks; return each one's place and whether it changed. Nothing is sent. `whose`: provider and account.

    A task that the ledger refuses is REFUSED and does not affect the others.

    `waiting`: task_id → the queued generation that this task already is. `prices`: charge the tasks to this ledger's
    budgets; without them, they count in no budget.
    """
    name, account = whose
    provider = here.provider(name, account)
    try:
        adopted = here.ledger.generations.import_tasks(
            name, [orphan_of(task) for task in tasks], account, waiting, prices
        )
    except (LedgerUnavailable, LedgerUnfit):
        raise
    except Exception as error:
        if len(tasks) > 1:
            alone = (adopt(here, whose, [task], waiting, cause=cause, prices=prices) for task in tasks)
            return [placed for one in alone for placed in one]
        log.exception("could not import task %s", tasks[0].outcome.task_id)
        return [(Placed(Place.REFUSED, error=described(error)), False)]
    told = [(index, one.attempt_id) for index, one in enumerate(adopted) if one.attempt_id is not None]
    verdicts = here.ledger.generations.apply_outcomes(
        [news_of(here, provider, attempt_id, tasks[index].outcome, cause=cause) for index, attempt_id in told]
    )
    applied = {index for (index, _), verdict in zip(told, verdicts, strict=True) if verdict is Verdict.APPLIED}
    # A new task is imported even before it has an outcome.
    return [
        (one, index in applied or (one.place is Place.NEW and one.attempt_id is not None))
        for index, one in enumerate(adopted)
    ]
