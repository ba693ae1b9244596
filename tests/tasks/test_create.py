"""Requests of another application on the same broker, sent by a Celery of its own, on a real broker."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject
from celery.signals import celeryd_after_setup
from redis import Redis

from tests import process_services
from worker.celery import app
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.services import Services, services

#: as the neighbour names it
QUEUE = "darkroom:generations"
#: where a worker finds it, and what a lost worker had taken
OURS = ("generations", "darkroom:generations")

Send = Callable[..., str]


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    rung: list[str] = []

    def ring(*steps: str) -> bool:
        rung.extend(steps)
        return True

    app.loader.import_default_modules()
    monkeypatch.setattr("tasks.create.ring", ring)
    return rung


@pytest.fixture
def here(
    migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bells: list[str]
) -> Iterator[Services]:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    process_services.forget()
    yield services()
    process_services.forget()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger


@pytest.fixture
def send(broker: Redis, broker_url: str) -> Iterator[Send]:
    """What the other application does; it has nothing of ours but the URL of the broker."""
    with Celery("shop", broker=broker_url, set_as_current=False) as theirs:

        def send(*args: object, **asked: object) -> str:
            return str(theirs.send_task("generation.create", args=args, kwargs=asked, queue=QUEUE).id)

        yield send


@contextmanager
def taken() -> Iterator[Any]:
    """The next message, as a worker takes it; it is acknowledged by whoever asks, or put back at the end."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        queues = [app.amqp.queues[name](channel) for name in OURS]
        found = next(filter(None, (queue.get() for queue in queues)), None)
        assert found is not None, "no message is in a queue that workers read"
        yield found


def worked_off() -> None:
    """Take one message and do what it says, as a worker does."""
    with taken() as message:
        args, kwargs, _ = message.decode()
        task = app.tasks[message.headers["task"]]
        task.push_request(id=message.headers["id"], origin=message.headers["origin"])
        try:
            task(*args, **kwargs)
        finally:
            task.pop_request()
        message.ack()


def test_a_message_creates_a_generation_and_wakes_dispatch(send: Send, ledger: Ledger, bells: list[str]) -> None:
    send(
        key="order-17", prompt="a red fox", provider=["acedata"], operation="imagine", options={"version": "7"},
        follow_up=["upscale1"], priority=3, labels={"client": "acme"},
    )  # fmt: skip
    worked_off()
    (one,) = ledger.generations.page()
    assert (one.key, one.prompt, one.provider, one.options, one.priority) == (
        "order-17", "a red fox", "acedata", {"version": "7"}, 3
    )  # fmt: skip
    assert ledger.generations.labels_of([one.id]) == {one.id: {"client": "acme"}}
    assert bells == ["dispatch"]


def test_a_message_that_arrives_twice_creates_one_generation(
    send: Send, ledger: Ledger, bells: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tasks.create")
    for _ in range(3):
        send(key="order-17", prompt="a red fox")
        worked_off()
    (one,) = ledger.generations.page()
    assert bells == ["dispatch"]
    created, known, _ = (record.getMessage() for record in caplog.records if record.name == "tasks.create")
    assert created.startswith(f"generation.create: created {one.id} for the key 'order-17' of the message ")
    assert known.startswith(f"generation.create: already known: {one.id} for the key 'order-17' of the message ")


def test_what_a_lost_worker_had_taken_is_found_by_the_next_one(send: Send, ledger: Ledger, broker: Redis) -> None:
    send(key="order-17", prompt="a red fox")
    with taken() as message:
        # The worker is gone before it acknowledges.
        assert broker.hlen("darkroom:unacked") == 1
        assert message is not None
    worked_off()
    assert [one.key for one in ledger.generations.page()] == ["order-17"]
    assert broker.hlen("darkroom:unacked") == 0


def test_a_worker_of_the_procfile_reads_what_was_put_back_too() -> None:
    class Instance:
        pass

    instance: Any = Instance()
    instance.app = Celery("another", set_as_current=False)
    instance.app.conf.task_queues = app.conf.task_queues
    queues = instance.app.amqp.queues
    queues.select(["quick", "generations"])
    celeryd_after_setup.send(sender="worker", instance=instance, conf=app.conf)
    assert set(queues.consume_from) == {"quick", *OURS}
    queues.select(["control", "quick"])
    celeryd_after_setup.send(sender="clock", instance=instance, conf=app.conf)
    assert set(queues.consume_from) == {"control", "quick"}


@pytest.mark.parametrize(
    ("args", "asked", "words"),
    [
        ((), {"prompt": "a fox"}, "key is missing: give each request its own key"),
        ((), {"key": " ", "prompt": "a fox"}, "the key must not be empty"),
        ((), {"key": 17, "prompt": "a fox"}, "key: Input should be a valid string"),
        ((), {"key": "k", "prompt": "a fox", "style": "x"}, "style: Extra inputs are not permitted"),
        ((), {"key": "k", "prompt": ""}, "the prompt is empty"),
        ((), {"key": "k", "prompt": "a {red, blue} fox"}, "the prompt makes 2 generations"),
        ((), {"key": "k", "prompt": "a fox", "options": {"speed": "warp"}}, "option speed: invalid value 'warp'"),
        ((), {"key": "k", "prompt": "a fox", "options": []}, "options: Input should be a valid dictionary"),
        ((), {"key": "k", "prompt": "a fox", "provider": "nobody"}, "unknown provider 'nobody'"),
        ((), {"key": "k", "prompt": "a fox", "provider": "kie"}, "KIE_API_KEY is not set"),
        ((), {"key": "k", "prompt": "a fox", "operation": "upscale"}, "upscale follows another generation"),
        ((), {"key": "k", "self": 1}, "self: Extra inputs are not permitted"),
        (({"key": "k", "prompt": "a fox"},), {}, "it has positional arguments: send them as kwargs="),
    ],
)
def test_a_wrong_message_is_refused_once_with_a_sentence(
    send: Send, ledger: Ledger, broker: Redis, caplog: pytest.LogCaptureFixture, args: Any, asked: Any, words: str
) -> None:
    message_id = send(*args, **asked)
    worked_off()
    (record,) = (record for record in caplog.records if record.name == "tasks.create")
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    said = record.getMessage()
    assert said.startswith(f"generation.create: refused the message {message_id} from gen")
    assert words in said
    assert said.endswith("; nothing was created: correct it and send it again")
    assert ledger.generations.page() == []
    assert broker.llen(QUEUE) == broker.hlen("darkroom:unacked") == 0


def test_the_key_of_another_request_is_refused(send: Send, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    send(key="order-17", prompt="a red fox")
    send(key="order-17", prompt="a blue fox")
    worked_off()
    worked_off()
    (one,) = ledger.generations.page()
    (record,) = (record for record in caplog.records if record.name == "tasks.create")
    assert f"the key 'order-17' already belongs to {one.id}, a different request" in record.getMessage()


@pytest.fixture
def ledger_is_away(here: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise LedgerUnavailable("connection refused")

    monkeypatch.setattr("tasks.usecases.submission.patience.PATIENCE", 0)
    monkeypatch.setattr(type(here.ledger.generations), "create", away)


@pytest.mark.usefixtures("ledger_is_away")
def test_a_request_that_the_ledger_cannot_take_waits_in_the_broker(
    send: Send, broker: Redis, bells: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    message_id = send(key="order-17", prompt="a red fox")
    worked_off()
    (waiting,) = map(json.loads, broker.lrange(QUEUE, 0, -1))
    assert (waiting["headers"]["id"], waiting["headers"]["task"]) == (message_id, "generation.create")
    assert waiting["headers"]["eta"] is not None
    assert broker.hlen("darkroom:unacked") == 0
    assert bells == []
    (record,) = (record for record in caplog.records if record.name == "tasks.create")
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "waits 30 s: connection refused" in record.getMessage()


@pytest.mark.usefixtures("ledger_is_away")
def test_without_ledger_and_broker_the_message_goes_back(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    send(key="order-17", prompt="a red fox")

    def refused(*_: object, **__: object) -> None:
        raise ConnectionError("connection refused")

    monkeypatch.setattr(app.tasks["generation.create"], "apply_async", refused)
    with pytest.raises(Reject) as rejected:
        worked_off()
    assert rejected.value.requeue
