"""`darkroom doctor` on what waits in the broker."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.broker import running_broker, used
from tests.tasks.cli.conftest import Darkroom
from worker.celery import app
from worker.steps import Step
from worker.wakeup import MANY_UNSENT, send

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def broker(tmp_path: Path) -> Iterator[None]:
    with running_broker(tmp_path) as url, used(url):
        yield


def queues(darkroom: Darkroom) -> list[dict[str, Any]]:
    checks = json.loads(darkroom("doctor", "--json").stdout)["checks"]
    return [check for check in checks if check["check"] == "queues"]


def test_the_lengths_of_the_queues_are_told(darkroom: Darkroom) -> None:
    send([Step.SUBMIT, Step.POLL, Step.ARCHIVE])
    assert queues(darkroom) == [
        {
            "check": "queues",
            "verdict": "ok",
            "message": "pending wake-ups: quick 0, submit 2, archive 1, thumbnails 0, control 0",
            "numbers": {"quick": 0, "submit": 2, "archive": 1, "thumbnails": 0, "control": 0},
        }
    ]


def test_a_queue_that_nobody_serves_is_told_with_what_to_do(darkroom: Darkroom) -> None:
    for _ in range(MANY_UNSENT):
        send([Step.POLL])
    assert len(queues(darkroom)) == 1
    send([Step.POLL])
    _, told = queues(darkroom)
    assert told["verdict"] == "warn"
    assert told["message"].startswith("submit: no worker handles poll, or all are busy;")
    assert "start a worker for this queue (`-Q submit`)" in told["message"]


def test_requests_of_other_applications_that_nobody_reads_are_told(darkroom: Darkroom) -> None:
    with Celery("shop", broker=app.conf.broker_url, set_as_current=False) as shop:
        shop.send_task("generation.create", kwargs={"key": "k", "prompt": "a fox"}, queue="darkroom:generations")
    _, told = queues(darkroom)
    assert told["verdict"] == "warn"
    assert told["message"] == (
        "1 request from another application waiting: no worker reads the queue generations, or all are busy: "
        "start a worker for it, as the Procfile's `worker` is"
    )
