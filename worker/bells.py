"""Ringing a bell: a message that says which kind of work is due, and nothing else. A lost one is harmless."""

import json
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from celery.exceptions import SoftTimeLimitExceeded

from worker.celery import KEY_PREFIX, QUEUE_OF, app
from worker.ledger import Ledger

log = logging.getLogger(__name__)

#: how many messages wait in a queue at the most, however long no worker listens to it
MOST_WAITING = 50
#: of these, how many of each kind: one that waits for ever must not keep the others of its queue out
SHARES = {kind: MOST_WAITING // Counter(QUEUE_OF.values())[queue] for kind, queue in QUEUE_OF.items()}

# One step for the broker, or senders would pass the bound together. What is waiting when it looks is taken later than
# what was committed before, so another message of that kind would tell nothing new.
_SEND = """
local most = tonumber(ARGV[1])
for number, queue in ipairs(KEYS) do
    local mark, share, message = ARGV[3 * number - 1], tonumber(ARGV[3 * number]), ARGV[3 * number + 1]
    local waiting = 0
    for _, other in ipairs(redis.call('LRANGE', queue, 0, most - 1)) do
        if string.find(other, mark, 1, true) then waiting = waiting + 1 end
    end
    if waiting < share then redis.call('LPUSH', queue, message) end
    redis.call('LTRIM', queue, 0, most - 1)
end
"""
_BODY = b64encode(json.dumps([[], {}, {}]).encode()).decode()


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a queue: how many messages, and those kinds of which no more are sent before one is taken."""

    messages: int
    full: tuple[str, ...]


def ring_if_due(ledger: Ledger, *kinds: str) -> None:
    """Ring for those kinds of which something is due now: a look into the ledger costs a tenth of a needless bell."""
    if due := [kind for kind in kinds if ledger.maintenance.is_due(kind)]:
        ring(*due)


def ring(*kinds: str) -> bool:
    """Wake workers for these kinds of work (names of tasks); False when the broker did not take it.

    Only after a ledger method has returned: a worker that wakes before the commit finds nothing.
    """
    try:
        send(kinds)
    except SoftTimeLimitExceeded:
        # It is raised wherever the task happens to be, and says nothing about the broker.
        raise
    except Exception as error:  # noqa: BLE001  the work is saved and is found without its bell, whatever went wrong
        log.warning("the broker did not take the bell for %s: %s: %s", ", ".join(kinds), type(error).__name__, error)
        return False
    return True


def send(kinds: Sequence[str]) -> None:
    """Send a wake-up of each kind, unless its share waits already; raises what the broker's client raises."""
    arguments = [
        argument for kind in kinds for argument in (_mark(kind), SHARES[kind], json.dumps(_message(kind, str(uuid4()))))
    ]
    with app.producer_pool.acquire(block=True) as producer:
        client = producer.channel.client
        client.eval(_SEND, len(kinds), *(_key(QUEUE_OF[kind]) for kind in kinds), MOST_WAITING, *arguments)


def drop_stale() -> None:
    """Leave only the newest messages where more wait than are sent now: those of an older version had no bound."""
    try:
        with app.connection_for_write() as connection:
            for queue in set(QUEUE_OF.values()):
                connection.default_channel.client.ltrim(_key(queue), 0, MOST_WAITING - 1)
    except Exception as error:  # noqa: BLE001  stale wake-ups are harmless, whatever went wrong
        log.warning("the broker did not drop stale wake-ups: %s", error)


def waiting() -> dict[str, Waiting]:
    """What waits in each queue; raises what the broker's client raises."""
    found = {}
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        for queue in dict.fromkeys(QUEUE_OF.values()):
            messages = client.lrange(_key(queue), 0, MOST_WAITING - 1)
            count = {kind: sum(_mark(kind).encode() in message for message in messages) for kind in SHARES}
            full = tuple(kind for kind, number in count.items() if number >= SHARES[kind])
            # kombu's client puts the prefix before the key of this command, and of no other that is used here.
            found[queue] = Waiting(client.llen(queue), full)
    return found


def _key(queue: str) -> str:
    """Where kombu keeps a queue's messages of priority 0, and we send no others."""
    return f"{KEY_PREFIX}{queue}"


def _mark(kind: str) -> str:
    return f'"task": "{kind}"'


def _message(kind: str, message_id: str) -> dict[str, object]:
    """A call without arguments in Celery's protocol 2, as kombu lays it into a list.

    By hand, because Celery takes four times as long for it, and kombu would push it whatever waits there.
    """
    return {
        "body": _BODY,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": kind, "id": message_id, "root_id": message_id, "ignore_result": True},
        "properties": {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE_OF[kind]},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": message_id,
        },
    }
