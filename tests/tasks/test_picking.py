"""A task of another application picks images: how it is asked, and what becomes of each answer, on a real broker."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import pools
from redis import Redis

from tasks.follow_up import follow_up
from tests import process_services
from tests.asking import a_recipe, asked
from tests.tasks.test_create import QUEUE, taken, worked_off
from worker.celery import app
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.approvals import Approval, Approvals, ApprovalState
from worker.services import Services, services

TASK = "task shop.pick@search"
Answer = Callable[..., None]


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    app.loader.import_default_modules()
    found: list[str] = []
    for module in ("picking", "follow_up"):
        monkeypatch.setattr(f"tasks.{module}.ring", lambda *steps: found.extend(steps))
    return found


@pytest.fixture
def here(
    migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rung: list[str]
) -> Iterator[Services]:
    for name, value in {
        "DATABASE_URL": sqlite_url,
        "DARKROOM_DATA": str(tmp_path),
        "ACEDATACLOUD_API_TOKEN": "a-token-of-the-tests",
        "S3_BUCKET": "acme-images",
    }.items():
        monkeypatch.setenv(name, value)
    process_services.forget()
    yield services()
    process_services.forget()


@pytest.fixture
def ledger(here: Services) -> Ledger:
    return here.ledger


@pytest.fixture
def approval(broker: Redis, ledger: Ledger, tmp_path: Path) -> Approval:
    return asked(ledger, a_recipe(tmp_path, pick=TASK), key="sku-7")[0]


@pytest.fixture
def answer(broker: Redis, broker_url: str) -> Iterator[Answer]:
    """What the worker of the other application sends when its task has ended, and what ours makes of it."""
    with Celery("shop", broker=broker_url, set_as_current=False) as shop:

        def answer(name: str, *args: object, **facts: object) -> None:
            shop.send_task(name, args=args, kwargs=facts, queue=QUEUE)
            worked_off()

        yield answer


def children(ledger: Ledger, approval: Approval) -> list[str | None]:
    return sorted(str(one.action) for one in ledger.generations.story(approval.generation_id).children)


def test_the_task_is_asked_once_with_all_that_it_needs(broker: Redis, ledger: Ledger, approval: Approval):
    assert ledger.maintenance.due() == ["follow_up"]
    follow_up()
    follow_up()
    assert ledger.maintenance.due() == []
    (message,) = broker.lrange("search", 0, -1)
    headers = json.loads(message)["headers"]
    (document,), _, callbacks = json.loads(b64decode(json.loads(message)["body"]))
    assert (headers["task"], headers["id"], headers["ignore_result"]) == ("shop.pick", approval.id, True)
    assert headers["expires"].startswith(approval.expires_at.isoformat()[:19])
    assert (document["approval"]["id"], document["approval"]["images"]) == (approval.id, [1, 2, 3, 4])
    assert (document["generation"]["key"], document["bucket"]) == ("sku-7", "acme-images")
    assert [one["object_key"] for one in document["generation"]["assets"]] == ["pictures/0.png"]
    for kind, name in (("callbacks", "approval.picked"), ("errbacks", "approval.failed")):
        (called,) = callbacks[kind]
        assert (called["task"], called["kwargs"], called["options"]) == (
            name, {"approval": approval.id}, {"queue": QUEUE},
        )  # fmt: skip


def test_a_broker_that_is_away_is_asked_again(
    broker: Redis, ledger: Ledger, approval: Approval, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as away:
        away.setattr(app.conf, "broker_url", "redis://127.0.0.1:1/0")
        pools.reset()
        follow_up()
    assert ledger.approvals.unsent(9) == [approval]
    assert ledger.maintenance.due() == ["follow_up"]
    follow_up()
    assert broker.llen("search") == 1
    assert ledger.approvals.unsent(9) == []


def test_the_answer_decides_and_a_second_one_changes_nothing(
    ledger: Ledger, approval: Approval, answer: Answer, rung: list[str], caplog: pytest.LogCaptureFixture
):
    answer("approval.picked", [4, 2], approval=approval.id)
    decided = ledger.approvals.get(approval.id)
    assert (decided.state, decided.picked, decided.decided_by) == ("decided", [2, 4], "task shop.pick")
    assert rung == ["dispatch", "archive"]
    answer("approval.picked", [1], approval=approval.id)
    answer("approval.failed", "an-id", approval=approval.id)
    assert ledger.approvals.get(approval.id) == decided
    assert children(ledger, approval) == ["upscale2", "upscale4"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (None, "it returned None, not a list of the images' numbers"),
        ({"pick": [1]}, "it returned {'pick': [1]}, not a list of the images' numbers"),
        ([1, "2"], "it returned [1, '2'], not a list of the images' numbers"),
        ([True], "it returned [True], not a list of the images' numbers"),
        ([], "it picked no image"),
        ([7], "there is no image 7; the images are 1, 2, 3, 4"),
    ],
)
def test_an_answer_that_is_none_rejects_and_says_why(
    ledger: Ledger, approval: Approval, answer: Answer, result: object, why: str
):
    answer("approval.picked", result, approval=approval.id)
    decided = ledger.approvals.get(approval.id)
    assert (decided.state, decided.why, decided.decided_by) == (ApprovalState.REJECTED, why, "task shop.pick")
    assert children(ledger, approval) == []


def test_a_task_that_fails_rejects(ledger: Ledger, approval: Approval, answer: Answer):
    answer("approval.failed", "an-id", approval=approval.id)
    decided = ledger.approvals.get(approval.id)
    assert (decided.state, decided.why) == (ApprovalState.REJECTED, "it failed: see its worker's log")


@pytest.mark.parametrize("facts", [{}, {"approval": "apr_unknown"}, {"approval": 7}])
def test_an_answer_to_nothing_is_refused(
    approval: Approval, answer: Answer, caplog: pytest.LogCaptureFixture, facts: dict[str, Any]
):
    answer("approval.picked", [1], **facts)
    assert "approval.picked: refused the message" in caplog.text


def test_no_message_decides_what_a_person_is_asked(
    broker: Redis, ledger: Ledger, tmp_path: Path, answer: Answer, caplog: pytest.LogCaptureFixture
):
    (approval,) = asked(ledger, a_recipe(tmp_path))
    answer("approval.picked", [1], approval=approval.id)
    assert f"{approval.id} is decided by a person, not by a task" in caplog.text
    assert ledger.approvals.get(approval.id) == approval


def test_an_answer_waits_for_a_ledger_that_is_away(
    broker: Redis, ledger: Ledger, approval: Approval, answer: Answer, monkeypatch: pytest.MonkeyPatch
):
    def away(*_: object) -> None:
        raise LedgerUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(Approvals, "get", away)
        answer("approval.picked", [3], approval=approval.id)
    with taken() as again:
        assert "eta" in again.headers
        assert list(again.decode()[:2]) == [[[3]], {"approval": approval.id}]
    worked_off()
    assert ledger.approvals.get(approval.id).picked == [3]
