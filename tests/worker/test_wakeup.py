"""Wake-ups never pile up, whatever happens to the workers, and no kind of them keeps another out."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from tests.broker import as_ours, running_broker, used
from tests.factories import at_once
from tests.patience import patient
from worker.celery import app
from worker.steps import QUEUES, Step
from worker.wakeup import MANY_UNSENT, MOST_WAITING, Waiting, drop_stale, ring, waiting

#: what an older version's clock sends in five hours without a worker
BACKLOG = 60_000


@pytest.fixture(scope="module")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture
def broker(broker_url: str) -> Iterator[Redis]:
    with as_ours(broker_url) as client:
        yield client


def waiting_in(broker: Redis, queue: str) -> Counter[str]:
    return Counter(json.loads(message)["headers"]["task"] for message in broker.lrange(f"darkroom:{queue}", 0, -1))


def old_messages(broker: Redis, queue: str, count: int) -> None:
    """As an older version sent them: without a bound, to be thrown away half a minute later."""
    app.send_task("old", queue=queue, expires=datetime.now(UTC) - timedelta(hours=1))
    message = broker.rpop(f"darkroom:{queue}")
    for _ in range(count // 1000):
        broker.lpush(f"darkroom:{queue}", *[message] * 1000)


def test_many_senders_at_once_never_leave_more_than_one_for_a_step(broker: Redis) -> None:
    def send() -> list[int]:
        lengths = []
        for _ in range(30):
            assert ring(*Step)
            lengths += [broker.llen(f"darkroom:{queue}") for queue in QUEUES]
        return lengths

    seen = at_once(*[send] * 8)
    assert all(isinstance(lengths, list) and max(lengths) <= len(Step) for lengths in seen), seen
    for queue in QUEUES:
        assert waiting_in(broker, queue) == {step: 1 for step in Step if step.queue == queue}


def test_a_kind_that_nobody_answers_keeps_no_other_of_its_queue_out(broker: Redis) -> None:
    ring(Step.SUBMIT)
    ring(Step.SUBMIT, Step.POLL, Step.NOTIFY)
    assert waiting_in(broker, "submit") == {"submit": 1, "poll": 1, "notify": 1}


def test_one_that_was_taken_makes_room_for_the_next(broker: Redis) -> None:
    """Also if whoever took it has died since."""
    ring(Step.SUBMIT)
    ring(Step.SUBMIT)
    taken = broker.rpop("darkroom:submit")
    assert waiting_in(broker, "submit") == {}
    ring(Step.SUBMIT)
    assert waiting_in(broker, "submit") == {"submit": 1}
    assert broker.rpop("darkroom:submit") != taken


def test_a_wake_up_is_a_message_like_every_other_and_does_not_expire(broker: Redis) -> None:
    ring(Step.POLL)
    ours = json.loads(broker.rpop("darkroom:submit"))
    app.send_task("poll")
    theirs = json.loads(broker.rpop("darkroom:submit"))
    assert ours.keys() == theirs.keys()
    assert ours["properties"].keys() == theirs["properties"].keys() - {"reply_to"}
    for name in ("delivery_info", "priority", "body_encoding", "delivery_mode"):
        assert ours["properties"][name] == theirs["properties"][name]
    assert ours["headers"].items() >= {"lang": "py", "task": "poll"}.items()
    assert ours["headers"].get("expires") is ours["headers"].get("eta") is None
    with app.connection_for_read() as connection:
        ring(Step.POLL)
        taken = connection.SimpleQueue(app.amqp.queues["submit"])
        assert taken.get(timeout=patient(5)).payload == [[], {}, {}]
        taken.close()


def test_what_an_older_version_left_is_dropped_when_a_worker_starts(broker: Redis) -> None:
    old_messages(broker, "submit", BACKLOG)
    ring(Step.ARCHIVE)
    drop_stale()
    assert broker.llen("darkroom:submit") == MOST_WAITING
    assert waiting_in(broker, "archive") == {"archive": 1}


def test_what_an_older_version_left_is_dropped_when_something_is_sent(broker: Redis) -> None:
    old_messages(broker, "submit", BACKLOG)
    ring(Step.SUBMIT)
    assert waiting_in(broker, "submit") == {"old": MOST_WAITING - 1, "submit": 1}


def test_messages_of_other_applications_are_left_alone(broker: Redis) -> None:
    """Even where a subscriber's queue has the name of one of ours."""
    for _ in range(200):
        broker.lpush("submit", "an event")
    for _ in range(100):
        ring(Step.SUBMIT)
    drop_stale()
    assert broker.llen("submit") == 200


def test_a_broker_that_refuses_is_told_and_is_no_error(broker: Redis) -> None:
    with used("redis://127.0.0.1:1/0"):
        assert not ring(Step.SUBMIT)
        drop_stale()


def test_a_broker_that_came_back_is_used_at_once(broker: Redis) -> None:
    assert ring(Step.SUBMIT)
    broker.client_kill_filter(_type="normal", skipme=True)
    assert ring(Step.SUBMIT)
    assert broker.llen("darkroom:submit") == 1


def test_what_waits_is_counted_and_what_nobody_serves_is_named(broker: Redis) -> None:
    for _ in range(MANY_UNSENT):
        ring(Step.POLL)
    assert waiting()["submit"] == Waiting(1, ())
    ring(Step.POLL)
    ring(Step.DISPATCH)
    assert waiting() == {
        "quick": Waiting(1, ()),
        "submit": Waiting(1, ("poll",)),
        "archive": Waiting(0, ()),
        "thumbnails": Waiting(0, ()),
        "control": Waiting(0, ()),
    }
    broker.rpop("darkroom:submit")
    assert waiting()["submit"] == Waiting(0, ())
    ring(Step.POLL)
    assert waiting()["submit"] == Waiting(1, ())
