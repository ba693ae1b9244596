"""Tasks of a provider's list, taken into the ledger with what the provider says of them."""

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
    """Or will have: what failed, or cannot be read, left nothing to archive."""
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
    """Where each is now, and whether anything changed; nothing is sent. `whose`: provider and account.

    One that cannot be written down is REFUSED, and keeps no other from it.

    `waiting`: task_id → the generation that waits to be submitted and is this task already. `prices`: of what this
    ledger has paid for; without, they count in no budget.
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
        log.exception("task %s cannot be taken in", tasks[0].outcome.task_id)
        return [(Placed(Place.REFUSED, error=described(error)), False)]
    told = [(index, one.attempt_id) for index, one in enumerate(adopted) if one.attempt_id is not None]
    verdicts = here.ledger.generations.apply_outcomes(
        [news_of(here, provider, attempt_id, tasks[index].outcome, cause=cause) for index, attempt_id in told]
    )
    applied = {index for (index, _), verdict in zip(told, verdicts, strict=True) if verdict is Verdict.APPLIED}
    # One that was new is taken even if there is no news of it yet.
    return [
        (one, index in applied or (one.place is Place.NEW and one.attempt_id is not None))
        for index, one in enumerate(adopted)
    ]
