"""Lets one of the user's Celery tasks pick images for a recipe step (`pick: task NAME@QUEUE`).

Any application on the same broker can define it, without any code of ours; its return value is the answer:

    @app.task(name="shop.pick")
    def pick(asked):
        return [2, 4]  # of asked["approval"]["images"]

Its worker sends the answer to our queue, as a callback of the message. An invalid answer rejects all images.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from tasks.create import AGAIN_SECONDS, try_again
from tasks.deciding import pick, reject
from tasks.neighbours import call_neighbour, connected_to_neighbours
from worker.celery import RequestTask, app
from worker.errors import ConfigurationError, LedgerUnavailable, LedgerUnfit, NotFound, RequestInvalid
from worker.generation import iso
from worker.ledger.approvals import Approval, ApprovalState, Decided
from worker.runtime import shutdown
from worker.secrets import described, redact
from worker.services import Services, services
from worker.steps import KEY_PREFIX, PICK_FAILED_TASK, PICKED_TASK, REQUEST_QUEUE, Step
from worker.wakeup import ring

log = logging.getLogger(__name__)

_BATCH = 50


def ask_tasks(here: Services) -> None:
    """Send pending questions, each at least once. If the broker refuses, the sweep finds them again."""
    while not shutdown.is_asked() and (unsent := here.ledger.approvals.unsent(_BATCH)):
        with connected_to_neighbours() as connection:
            for approval in unsent:
                if not _ask(here, connection, approval):
                    return


def _ask(here: Services, connection: Any, approval: Approval) -> bool:
    try:
        call_neighbour(
            connection,
            str(approval.task),
            str(approval.queue),
            _document(here, approval),
            task_id=approval.id,
            expires=approval.expires_at,
            link=_callback(PICKED_TASK, approval),
            link_error=_callback(PICK_FAILED_TASK, approval),
        )
    except (LedgerUnavailable, LedgerUnfit, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001  whatever the broker's client raises
        log.warning("could not ask the task %s about %s: %s", approval.task, approval.id, described(error))
        return False
    here.ledger.approvals.note_sent(approval.id)
    return True


def _callback(task: str, approval: Approval) -> Any:
    """Return the message that the other application's worker sends when its task ends."""
    return app.signature(task, kwargs={"approval": approval.id}, queue=f"{KEY_PREFIX}{REQUEST_QUEUE}")


def _document(here: Services, approval: Approval) -> dict[str, Any]:
    from tasks.usecases import views  # noqa: PLC0415  only needed when tasks are asked

    generations = here.ledger.generations
    of = [approval.generation_id]
    (generation,) = generations.get(of)
    lineage = generations.lineages(of)[generation.id]
    return {
        "approval": views.of_approval(approval),
        "generation": {
            **views.with_results(generation, lineage, generations.assets_of(of).get(generation.id, []), []),
            "labels": generations.labels_of(of).get(generation.id, {}),
        },
        "bucket": here.settings.s3_bucket,
    }


@app.task(name=PICKED_TASK, bind=True, base=RequestTask, typing=False)
def approval_picked(self: Any, /, *args: Any, **facts: Any) -> None:
    """Decide as the task answered: once, however often the message arrives."""
    _take(self, args, facts, lambda here, approval: _answered(here, approval, args[0] if args else None))


@app.task(name=PICK_FAILED_TASK, bind=True, base=RequestTask, typing=False)
def approval_failed(self: Any, /, *args: Any, **facts: Any) -> None:
    """Reject all images, because the task failed."""
    _take(self, args, facts, lambda here, one: _reject(here, one, "it failed: see its worker's log"))


def _take(task: Any, args: Any, facts: Any, decide: Callable[[Services, Approval], Decided]) -> None:
    who = f"the message {task.request.id}"
    try:
        here = services()
        approval = _asked_task(here, facts.get("approval"))
        decided = decide(here, approval)
    except (LedgerUnavailable, ConfigurationError, SoftTimeLimitExceeded) as error:
        log.warning("%s: %s waits %d s: %s", task.name, who, AGAIN_SECONDS, redact(str(error) or "it took too long"))
        try_again(task, facts, args)
    except (NotFound, RequestInvalid) as error:
        log.error("%s: refused %s: %s", task.name, who, redact(str(error)))  # noqa: TRY400  somebody else's mistake
    else:
        now = decided.approval
        end = f"{now.state} at {iso(now.decided_at)} by {now.decided_by}" if now.decided_at else "expired"
        log.info("%s: %s is%s %s", task.name, now.id, "" if decided.is_new else " already", end)
        if decided.created:
            ring(Step.DISPATCH, Step.ARCHIVE)


def _asked_task(here: Services, approval_id: object) -> Approval:
    if not isinstance(approval_id, str):
        raise RequestInvalid("it names no approval")
    approval = here.ledger.approvals.get(approval_id)
    if approval.task is None:
        raise RequestInvalid(f"{approval_id} is decided by a person, not by a task")
    return approval


def _answered(here: Services, approval: Approval, answer: object) -> Decided:
    if approval.state is not ApprovalState.ASKED:
        return Decided(approval, is_new=False)
    try:
        numbers = _numbers(answer)
        return pick(here, approval, numbers, by=_name(approval))
    except RequestInvalid as error:
        return _reject(here, approval, str(error))


def _numbers(answer: object) -> list[int]:
    if not isinstance(answer, list) or not all(type(one) is int for one in answer):
        raise RequestInvalid(f"it returned {redact(repr(answer))[:100]}, not a list of the images' numbers")
    if not answer:
        raise RequestInvalid("it picked no image")
    return sorted(set(answer))


def _reject(here: Services, approval: Approval, why: str) -> Decided:
    return reject(here, approval, by=_name(approval), why=why)


def _name(approval: Approval) -> str:
    return f"task {approval.task}"
