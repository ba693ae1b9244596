"""The answers to probes of the receiver and the report of the chaos suite are as the golden files have them."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.findings import Findings
from tests.chaos.report import document
from tests.chaos.run import Result, Run
from tests.clock import NOON, FakeClock
from tests.golden.golden import Golden
from tests.next_version import NEXT, need
from tests.patience import patient
from tests.webhook.test_health import client
from webhook import health
from webhook.group_commit import GroupCommit
from worker.ledger import Ledger
from worker.ledger.database import REVISION
from worker.ledger.restore_guard import Marker

Arrange = Callable[[Ledger, FakeClock, GroupCommit], object]


def _silent(ledger: Ledger, clock: FakeClock, _: GroupCommit) -> None:
    ledger.maintenance.beat("worker@host", 7)
    clock.advance(91)
    ledger.maintenance.beat("clock@host", 8)


def _too_old(ledger: Ledger, _clock: FakeClock, _group: GroupCommit) -> None:
    ledger.maintenance.beat("worker@host", 7)
    need(ledger, NEXT)


def _stopped(ledger: Ledger, clock: FakeClock, _: GroupCommit) -> None:
    ledger.maintenance.beat("worker@host", 7)
    ledger.restore.verify_marker(None)
    ledger.restore.verify_marker(Marker("ledger_0123456789abcdef", 5, 10, NOON))


ANSWERS: dict[str, Arrange] = {
    "ok": lambda ledger, *_: ledger.maintenance.beat("worker@host", 7),
    "broker-away": lambda ledger, *_: ledger.maintenance.beat("worker@host", 7),
    "broker-time": lambda ledger, *_: ledger.maintenance.beat("worker@host", 7),
    "no-worker": lambda *_: None,
    "silent-worker": _silent,
    "too-old": _too_old,
    "stopped": _stopped,
    "not-stored": lambda _ledger, _clock, group: group.note(False),
    "no-tables": lambda *_: None,
    "no-ledger": lambda *_: None,
    "no-answer": lambda *_: None,
}


def _no_answer() -> timedelta:
    raise ConnectionError("connection refused")


BROKERS: dict[str, Callable[[], timedelta]] = {"broker-away": _no_answer, "broker-time": lambda: timedelta(minutes=10)}


def test_every_answer_of_readyz_is_as_it_was(
    migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", patient(10))
    golden = Golden("readyz", {REVISION: "<revision>"})
    for name, arrange in ANSWERS.items():
        file, clock = tmp_path / f"{name}.sqlite3", FakeClock()
        if name != "no-ledger":
            file.write_bytes(b"" if name == "no-tables" else migrated_file.read_bytes())
        url = "postgresql://127.0.0.1:1/darkroom" if name == "no-answer" else f"sqlite:///{file}"
        with closing(Ledger(url, clock)) as ledger:
            group = GroupCommit(ledger.callbacks.store, ledger.close)
            arrange(ledger, clock, group)
            answer = client(ledger, clock, BROKERS.get(name, timedelta), group).get("/readyz")
        golden.add(name, {"status": answer.status_code, "body": answer.json})
    golden.compare()


def test_the_report_of_the_chaos_suite_is_as_it_was() -> None:
    golden = Golden("chaos")
    wanted = Run(generations=100, faults=3, seed=7, database="sqlite", kills_only=False, naive=True)
    reasons = {"read_timeout": 1, "lease_ended": 2}
    findings = Findings(
        *(150, 152, 0, 0, 0, 3, 1, 147), complaints=("what must not be is told on standard error",), reasons=reasons
    )
    faults, requests = {"kill a worker": 2, "flush the broker": 1}, {"reset": 4, "hang": 1}
    naive = Findings(150, 170, 20, 12, 9, 0, 0, 138)
    golden.add("both", document(wanted, Result(findings, 12.34, faults, requests, (), 98.76, naive, 45.67)))
    golden.add("alone", document(wanted, Result(findings, 12.34, faults, requests, (), 98.76)))
    golden.compare()
