import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.clock import FakeClock
from tests.factories import delivery
from tests.machines import machine
from tests.next_version import NEXT, need
from tests.webhook.receiving import until
from webhook import health
from webhook.group_commit import GroupCommit
from worker.errors import LedgerUnavailable
from worker.ledger import Ledger
from worker.ledger.database import Clock
from worker.ledger.maintenance import STOPPED


def client(
    ledger: Ledger,
    clock: Clock,
    broker_error: Callable[[], timedelta | None] = lambda: None,
    group: GroupCommit | None = None,
) -> FlaskClient:
    group = group or GroupCommit(ledger.callbacks.store, ledger.close)
    app = Flask("health")
    app.register_blueprint(health.blueprint(health.dependencies(ledger, clock, broker_error, group)))
    return app.test_client()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hangs in a test, hangs until it is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_living_process_says_so_whatever_else_is_broken(clock: FakeClock) -> None:
    answer = client(Ledger("sqlite:////nowhere/ledger.sqlite3"), clock).get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_all_well_is_200_and_ok(ledger: Ledger, clock: FakeClock) -> None:
    ledger.maintenance.beat("worker@host", 7)
    answer = client(ledger, clock).get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ok",
        "ledger": {"status": "ok", "detail": ""},
        "broker": {"status": "ok", "detail": ""},
        "workers": {"status": "ok", "detail": ""},
        "submissions": {"status": "ok", "detail": ""},
    }


def test_a_broker_that_is_away_only_degrades_because_callbacks_are_kept(ledger: Ledger, clock: FakeClock) -> None:
    def refused() -> None:
        raise ConnectionError("Error 111 connecting to redis://:broker-password@10.0.0.5:6379")

    ledger.maintenance.beat("worker@host", 7)
    answer = client(ledger, clock, refused).get("/readyz")
    assert (answer.status_code, answer.json["status"], answer.json["broker"]["status"]) == (200, "degraded", "degraded")
    assert "10.0.0.5" not in answer.text
    assert "password" not in answer.text


def test_a_broker_that_is_frozen_delays_the_answer_for_less_than_a_second(
    ledger: Ledger, clock: FakeClock, release: threading.Event
) -> None:
    def frozen() -> None:
        release.wait(30)

    assert health.PATIENCE < 1
    asked = client(ledger, clock, frozen)
    for _ in range(2):
        answer = asked.get("/readyz")
        assert (answer.status_code, answer.json["broker"]["status"]) == (200, "degraded")


def test_a_ledger_that_is_frozen_is_503_within_a_second(
    ledger: Ledger, clock: FakeClock, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.maintenance, "ping", lambda: release.wait(30))
    monkeypatch.setattr(ledger.maintenance, "heartbeats", lambda: release.wait(30) and [])
    answer = client(ledger, clock, lambda: release.wait(30) and None).get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/ledger.sqlite3", "postgresql://me:hunter22@127.0.0.1:1/darkroom"])
def test_without_the_ledger_it_is_503_and_tells_no_address(clock: FakeClock, url: str) -> None:
    answer = client(Ledger(url), clock).get("/readyz")
    assert (answer.status_code, answer.json["ledger"]["status"]) == (503, "unavailable")
    assert answer.json["workers"]["status"] == "degraded"
    for secret in ("nowhere", "127.0.0.1", "hunter22"):
        assert secret not in answer.text


def test_without_tables_it_is_503_and_says_what_to_do(blank_database_url: str, clock: FakeClock) -> None:
    ledger = Ledger(blank_database_url)
    answer = client(ledger, clock).get("/readyz")
    assert answer.status_code == 503
    assert "darkroom db upgrade" in answer.json["ledger"]["detail"]
    ledger.close()


def test_after_a_store_that_failed_it_is_503_until_one_of_its_own_succeeds(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: what can be read says nothing about what can be written."""
    monkeypatch.setattr(health, "KEPT", 0)
    trials = 0

    def trial() -> None:
        nonlocal trials
        trials += 1
        if trials == 1:
            raise LedgerUnavailable("the ledger cannot be used now: database or disk is full at db.internal")

    def full(_: object) -> None:
        raise LedgerUnavailable("the ledger cannot be used now: database or disk is full")

    group = GroupCommit(full, lambda: None)
    asked = client(ledger, clock, group=group)
    monkeypatch.setattr(ledger.callbacks, "try_store", trial)
    assert asked.get("/readyz").status_code == 200

    with pytest.raises(LedgerUnavailable):
        group.keep(delivery("ab" * 16))

    # Not again so soon after the last one.
    answers = [asked.get("/readyz") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert answers[0].json["ledger"] == {
        "status": "unavailable",
        "detail": "the last callback could not be stored: see the log of the receiver",
    }
    assert trials == 0
    monkeypatch.setattr(health, "TRY_AGAIN", 0)
    answer = asked.get("/readyz")
    assert (answer.status_code, trials) == (503, 1)
    assert "db.internal" not in answer.text
    assert [asked.get("/readyz").status_code for _ in range(3)] == [200] * 3
    assert trials == 2


def test_a_callback_that_is_stored_ends_what_one_that_was_not_began(ledger: Ledger, clock: FakeClock) -> None:
    group = GroupCommit(ledger.callbacks.store, ledger.close)
    group.note(False)
    group.keep(delivery("ab" * 16))
    assert client(ledger, clock, group=group).get("/readyz").status_code == 200


def test_no_worker_at_all_is_degraded_with_a_sentence(ledger: Ledger, clock: FakeClock) -> None:
    answer = client(ledger, clock).get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert "no worker has reported" in answer.json["workers"]["detail"]


def test_a_worker_that_fell_silent_is_counted_and_no_machine_is_named(ledger: Ledger, clock: FakeClock) -> None:
    ledger.maintenance.beat("worker@host", 7)
    clock.advance(91)
    ledger.maintenance.beat("clock@host", 8)
    workers = client(ledger, clock).get("/readyz").json["workers"]
    assert workers["status"] == "degraded"
    assert "1 of 2 workers are silent, the longest for 91 s" in workers["detail"]
    assert "host" not in workers["detail"]


def test_a_worker_that_said_that_it_ends_is_neither_at_work_nor_silent(ledger: Ledger, clock: FakeClock) -> None:
    ledger.maintenance.beat("worker.7@host", 7)
    ledger.maintenance.beat("worker.7@host", STOPPED)
    assert "no worker has reported" in client(ledger, clock).get("/readyz").json["workers"]["detail"]
    ledger.maintenance.beat("worker.8@host", 8)
    clock.advance(91)
    ledger.maintenance.beat("worker.8@host", 8)
    assert client(ledger, clock).get("/readyz").json["workers"] == {"status": "ok", "detail": ""}
    ledger.maintenance.forget(["worker.7@host"])
    assert [beat.worker for beat in ledger.maintenance.heartbeats()] == ["worker.8@host"]


def test_a_worker_that_was_replaced_long_ago_is_forgotten(ledger: Ledger, clock: FakeClock) -> None:
    ledger.maintenance.beat("worker@old-container", 7)
    clock.advance(hours=1)
    ledger.maintenance.beat("worker@new-container", 8)
    assert client(ledger, clock).get("/readyz").json["workers"] == {"status": "ok", "detail": ""}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_versions_that_are_too_old_are_degraded_and_callbacks_are_still_kept(ledger: Ledger, clock: FakeClock) -> None:
    ledger.maintenance.beat("worker@old", 7)
    need(ledger, NEXT)
    answer = client(ledger, clock).get("/readyz")
    assert (answer.status_code, answer.json["ledger"]["status"], answer.json["workers"]["status"]) == (
        200,
        "degraded",
        "degraded",
    )
    assert "this version of Darkroom is too old" in answer.json["ledger"]["detail"]
    assert "1 of 1 workers are too old for the ledger" in answer.json["workers"]["detail"]


def test_many_probes_are_one_question(ledger: Ledger, clock: FakeClock) -> None:
    asked: list[int] = []
    probed = client(ledger, clock, lambda: asked.append(1))
    for _ in range(20):
        probed.get("/readyz")
    assert len(asked) == 1


def test_a_dependency_is_asked_again_when_its_answer_is_old(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "KEPT", 0.05)
    asked: list[int] = []
    probed = client(ledger, clock, lambda: asked.append(1))
    probed.get("/readyz")
    time.sleep(0.06)
    probed.get("/readyz")
    assert len(asked) == 2


def test_a_machine_with_a_wrong_clock_says_so_and_goes_on_keeping_callbacks(postgresql_url: str) -> None:
    ledger = machine(postgresql_url, timedelta(minutes=10))
    ledger.maintenance.beat("worker@host", 7)
    answer = client(ledger, ledger.database.clock, lambda: timedelta(minutes=10)).get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    for name in ("database", "broker"):
        found = answer.json["ledger" if name == "database" else name]
        assert found["status"] == "degraded"
        assert f"s ahead of the {name}'s: synchronize both with NTP" in found["detail"]
    assert answer.json["workers"]["status"] == "ok"
    ledger.close()


def test_a_worker_that_was_heard_in_the_future_has_not_been_heard_since(ledger: Ledger, clock: FakeClock) -> None:
    ledger.maintenance.beat("worker@host", 7)
    clock.advance(minutes=-10)
    workers = client(ledger, clock).get("/readyz").json["workers"]
    assert "1 of 1 workers are silent, the longest for 600 s" in workers["detail"]


def test_a_check_that_hangs_does_not_speak_for_a_dependency_that_is_back(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "KEPT", 0.01)
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    monkeypatch.setattr(health, "HANGS_AFTER", 0.5)
    reconnected = threading.Event()

    def check() -> health.Finding:
        if not reconnected.is_set():
            release.wait(30)
        return health.OK

    away = health.Finding("unavailable")
    dependency = health.Dependency(check, away, reconnected.set)
    dependency.ask()
    assert dependency.finding() == away
    assert not reconnected.is_set()
    time.sleep(0.5)
    dependency.ask()
    until(lambda: dependency.finding() == health.OK)


@pytest.mark.processes
def test_a_process_with_more_checks_that_hang_than_it_may_have_ends_to_be_started_again() -> None:
    script = """
import threading, time
from webhook import health
from webhook.group_commit import GroupCommit
health.HANGS_AFTER = health.PATIENCE = 0.1
dependency = health.Dependency(lambda: threading.Event().wait() and None, health.Finding("unavailable"))
while True:
    dependency.ask()
    print(dependency.finding().status, flush=True)
"""
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "4 checks of /readyz are hanging" in done.stderr
