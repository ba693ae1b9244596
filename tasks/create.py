"""Create a generation that another application on the same broker requests.

The application sends it with any version of Celery, without any code of ours:

    Celery(broker=REDIS_URL).send_task(
        "generation.create", kwargs={"key": "order-17", "prompt": "a red fox"}, queue="darkroom:generations"
    )

Nothing is sent back: events report the outcome (`DARKROOM_NOTIFY_TASKS`), and each includes the key.
"""

import logging
from collections.abc import Sequence
from typing import Any

from celery.exceptions import Reject, SoftTimeLimitExceeded

from worker.celery import RequestTask, app
from worker.errors import ConfigurationError, LedgerUnavailable, LedgerUnfit, RequestInvalid
from worker.secrets import redact
from worker.services import services
from worker.steps import REQUEST_TASK, Step
from worker.wakeup import ring

log = logging.getLogger(__name__)

#: seconds after which to retry a request that the ledger could not record
AGAIN_SECONDS = 30


@app.task(name=REQUEST_TASK, bind=True, base=RequestTask, typing=False)
def generation_create(self: Any, /, *args: object, **asked: object) -> None:
    """Create the generation once, however often the message arrives; refuse an invalid one for good and say why."""
    # Only workers that receive such requests need the use cases.
    from tasks.usecases.create import create  # noqa: PLC0415

    who = f"the message {self.request.id} from {self.request.origin or 'an unknown sender'}"
    try:
        _require_names(args)
        created = create(services(), asked)
    except (LedgerUnavailable, LedgerUnfit, SoftTimeLimitExceeded) as error:
        log.warning("%s: %s waits %d s: %s", REQUEST_TASK, who, AGAIN_SECONDS, redact(str(error) or "it took too long"))
        try_again(self, asked)
    except (RequestInvalid, ConfigurationError) as error:
        key = asked.get("key")
        log.error(  # noqa: TRY400  somebody else's mistake needs no traceback
            "%s: refused %s%s: %s; nothing was created: correct it and send it again",
            *(REQUEST_TASK, who, f", key {key!r}" if isinstance(key, str) else "", redact(str(error))),
        )
    else:
        generation = created.generation
        what = "created" if created.is_new else "already known:"
        log.info("%s: %s %s for the key %r of %s", REQUEST_TASK, what, generation.id, generation.key, who)
        if created.is_new:
            ring(Step.DISPATCH)


def _require_names(args: tuple[object, ...]) -> None:
    if args:
        raise RequestInvalid('it has positional arguments: send them as kwargs={"key": …, "prompt": …}')


def try_again(task: Any, asked: dict[str, object], args: Sequence[object] = ()) -> None:
    """Send the message again, for delivery later; the current one is then acknowledged."""
    try:
        task.apply_async(args, asked, task_id=task.request.id, countdown=AGAIN_SECONDS)
    except Exception as error:
        # The broker is unreachable, too: it still has the message and will redeliver it.
        raise Reject(error, requeue=True) from error
