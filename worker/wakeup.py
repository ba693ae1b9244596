"""Wake-ups: messages that say which step has work, and nothing else. Losing one is harmless."""

import json
import logging
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

from worker.ledger import Ledger
from worker.settings import load_settings, open_redis
from worker.steps import KEY_PREFIX, QUEUES, REQUEST_QUEUE, Step

log = logging.getLogger(__name__)

#: the most messages in a queue; only older versions leave more
MOST_WAITING = 50
#: if this many wake-ups were skipped for a step while one waits, it has no worker, or all are busy
MANY_UNSENT = 15

# Atomic in the broker; otherwise concurrent senders would each see none. A message that waits now will be read after
# the commit that precedes this call, so a second one for the same step adds nothing.
_SEND = """
local most, unsent = tonumber(ARGV[1]), KEYS[#KEYS]
for number = 1, #KEYS - 1 do
    local queue, step, mark, message = KEYS[number], ARGV[3 * number - 1], ARGV[3 * number], ARGV[3 * number + 1]
    local is_waiting = false
    for _, other in ipairs(redis.call('LRANGE', queue, 0, most - 1)) do
        is_waiting = is_waiting or string.find(other, mark, 1, true) ~= nil
    end
    if is_waiting then
        redis.call('HINCRBY', unsent, step, 1)
    else
        redis.call('LPUSH', queue, message)
        redis.call('HDEL', unsent, step)
    end
    redis.call('LTRIM', queue, 0, most - 1)
end
"""
#: step → how many wake-ups for it were skipped since the waiting one
_UNSENT = f"{KEY_PREFIX}unsent-wake-ups"
_BODY = b64encode(json.dumps([[], {}, {}]).encode()).decode()


#: longer than any of our commands takes on a busy broker
_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue's number of messages, and the steps whose wake-up still waits although many more were due since."""

    messages: int
    unserved: tuple[Step, ...]


@cache
def broker() -> Any:
    """Return this process's client, kept open; its methods raise RedisError or OSError. Raises ConfigurationError.

    Avoids Celery: a process that only sends wake-ups does not need its 8 MB.
    """
    return open_redis(load_settings().redis_url, _SECONDS)


def ring_if_due(ledger: Ledger, *steps: Step) -> None:
    """Wake the steps that have due work: the query costs a tenth of a needless wake-up."""
    if due := [step for step in steps if ledger.maintenance.is_due(step)]:
        ring(*due)


def ring(*steps: Step) -> bool:
    """Wake workers for these steps; return False if the broker refused.

    Call it only after a ledger method has returned: a worker that wakes before the commit finds nothing.
    """
    try:
        send(steps)
    except Exception as error:
        if _is_time_limit(error):
            # It may be raised anywhere in the task and does not concern the broker.
            raise
        # The work is saved, and the sweep finds it.
        log.warning("could not send the wake-up for %s: %s: %s", ", ".join(steps), type(error).__name__, error)
        return False
    return True


def send(steps: Sequence[Step]) -> None:
    """Send a wake-up for each step for which none waits; raises RedisError or OSError."""
    arguments = [
        argument for step in steps for argument in (step, _mark(step), json.dumps(_message(step, str(uuid4()))))
    ]
    keys = [*(_key(step.queue) for step in steps), _UNSENT]
    broker().eval(_SEND, len(keys), *keys, MOST_WAITING, *arguments)


def drop_stale() -> None:
    """Trim queues to the limit: older versions had none."""
    try:
        for queue in QUEUES:
            broker().ltrim(_key(queue), 0, MOST_WAITING - 1)
    except Exception as error:  # noqa: BLE001  stale wake-ups are harmless, whatever went wrong
        log.warning("could not drop stale wake-ups: %s", error)


def waiting() -> dict[str, Waiting]:
    """Return the state of each queue; raises RedisError or OSError."""
    found = {}
    client = broker()
    unsent = {step.decode(): int(number) for step, number in client.hgetall(_UNSENT).items()}
    many = [step for step in Step if unsent.get(step, 0) >= MANY_UNSENT]
    for queue in QUEUES:
        messages = client.lrange(_key(queue), 0, MOST_WAITING - 1)
        unserved = tuple(step for step in many if any(_mark(step).encode() in message for message in messages))
        found[queue] = Waiting(client.llen(_key(queue)), unserved)
    return found


def requests_waiting() -> int:
    """Return how many requests of other applications no worker has taken; raises RedisError or OSError."""
    return int(broker().llen(_key(REQUEST_QUEUE)))


def _is_time_limit(error: Exception) -> bool:
    # A process that has not loaded Celery has no Celery time limit.
    exceptions = sys.modules.get("celery.exceptions")
    return exceptions is not None and isinstance(error, exceptions.SoftTimeLimitExceeded)


def _key(queue: str) -> str:
    """The key under which kombu keeps a queue's messages of priority 0; we send no others."""
    return f"{KEY_PREFIX}{queue}"


def _mark(step: Step) -> str:
    return f'"task": "{step}"'


def _message(step: Step, message_id: str) -> dict[str, object]:
    """A call without arguments in Celery's protocol 2, as kombu stores it in a list.

    Built by hand: Celery takes four times as long, and kombu would push the message no matter what is already waiting.
    """
    return {
        "body": _BODY,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": step, "id": message_id, "root_id": message_id, "ignore_result": True},
        "properties": {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": step.queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": message_id,
        },
    }
