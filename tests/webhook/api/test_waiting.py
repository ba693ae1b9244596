"""Requests wait until a generation is final: a few at once, with one question to the ledger for all of them."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.factories import queued
from tests.patience import patient, wait_for
from webhook.waiting import MOST_WAITING, THREADS, Waiting, preferred_wait
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger

LONG = 300.0


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


class Asked:
    """What was asked, and what is final."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.final: set[str] = set()

    def __call__(self, ids: Sequence[str]) -> set[str]:
        self.asked.append(tuple(ids))
        return self.final & set(ids)


def started(waiting: Waiting, ids: Sequence[str], seconds: float = LONG) -> tuple[ThreadPoolExecutor, list[Any]]:
    pool = ThreadPoolExecutor(len(ids))
    found = [pool.submit(waiting.wait, one, seconds) for one in ids]
    assert wait_for(lambda: len(waiting._waiters) == len(ids), seconds=10)
    return pool, found


def test_all_who_wait_share_each_question_and_each_hears_when_its_own_is_final() -> None:
    asked = Asked()
    waiting = Waiting(asked)
    pool, (first, second, other) = started(waiting, ["gen_1", "gen_1", "gen_2"])
    assert wait_for(lambda: asked.asked.count(("gen_1", "gen_2")) >= 2, seconds=10)
    asked.final.add("gen_1")
    assert first.result(patient(10))
    assert second.result(patient(10))
    assert not other.done()
    assert wait_for(lambda: asked.asked[-1] == ("gen_2",), seconds=10)
    asked.final.add("gen_2")
    assert other.result(patient(10))
    pool.shutdown()


def test_nothing_is_asked_while_nobody_waits() -> None:
    asked = Asked()
    waiting = Waiting(asked)
    for _ in range(2):
        assert waiting.wait("gen_1", 0.01)
        assert wait_for(lambda: not waiting._is_asking, seconds=10)
        assert not [one for one in threading.enumerate() if one.name == "waiting" and one.is_alive()]


def test_only_so_many_wait_and_the_others_are_answered_at_once() -> None:
    assert MOST_WAITING == THREADS // 2
    waiting = Waiting(Asked(), most=2)
    pool, found = started(waiting, ["gen_1", "gen_2"])
    assert not waiting.wait("gen_3", 3)
    waiting.close()
    assert all(one.result(patient(10)) for one in found)
    pool.shutdown()


def test_the_end_of_the_process_ends_all_waits() -> None:
    waiting = Waiting(Asked())
    pool, (found,) = started(waiting, ["gen_1"])
    waiting.close()
    assert found.result(patient(10))
    assert not waiting.wait("gen_1", LONG)
    pool.shutdown()


def test_a_ledger_that_is_away_ends_no_wait() -> None:
    asked = Asked()
    is_away = threading.Event()
    is_away.set()

    def ended(ids: Sequence[str]) -> set[str]:
        found = asked(ids)
        if is_away.is_set():
            raise LedgerUnavailable("the database is restarting")
        return found

    waiting = Waiting(ended)
    pool, (found,) = started(waiting, ["gen_1"])
    asked.final.add("gen_1")
    assert wait_for(lambda: len(asked.asked) > 1, seconds=10)
    assert not found.done()
    is_away.clear()
    assert found.result(patient(10))
    pool.shutdown()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("respond-async", None),
        ("wait=30", 30),
        ("respond-async, Wait = 5; foo", 5),
        ('wait="7"', 7),
        ("wait=4000", 60),
        ("wait=-1", None),
        ("wait=soon", None),
        ("await=30", None),
    ],
)
def test_a_preference_is_read_as_in_the_standard(header: str | None, seconds: int | None) -> None:
    assert preferred_wait(header) == seconds


@pytest.mark.parametrize("how", [{"headers": {"Prefer": "wait=60"}}, {"query_string": "wait=60"}])
def test_a_request_waits_until_the_generation_is_final(client: FlaskClient, ledger: Ledger, app: Flask, how: Any):
    (made,) = queued(ledger)
    path = f"/v1/generations/{made.id}"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: app.test_client().get(path, **how))
        assert wait_for(lambda: any(one.name == "waiting" for one in threading.enumerate()), seconds=10)
        assert not waiting.done()
        ledger.generations.cancel([made.id])
        answer = waiting.result(patient(20))
    assert (answer.json["state"], answer.headers["Preference-Applied"]) == ("cancelled", "wait=60")
    # It is final, so nobody has to wait.
    again = client.get(path, **how)
    assert (again.json, again.headers["Preference-Applied"]) == (answer.json, "wait=60")


def test_a_wait_that_is_over_is_answered_with_the_state_of_now(client: FlaskClient):
    made = client.post("/v1/generations?wait=1", json={"prompt": "a red fox", "key": "fox"})
    assert (made.status_code, made.json["state"]) == (201, "queued")
    assert made.headers["Preference-Applied"] == "wait=1"
    assert client.get(f"/v1/generations/{made.json['id']}?wait=61").status_code == 422


def test_where_too_many_wait_the_answer_comes_at_once_and_says_so(
    client: FlaskClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Waiting, "wait", lambda *_: False)
    (made,) = queued(ledger)
    answer = client.get(f"/v1/generations/{made.id}?wait=60")
    assert (answer.json["state"], answer.headers.get("Preference-Applied")) == ("queued", None)
