"""Machines whose clocks differ, or are set, do all their work; what piled up while no worker listened delays none."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from tests import s3
from tests.broker import running_broker
from tests.computer import DARKROOM, eventually
from tests.factories import PLENTY, PROVIDER, archived, delivery, queued, submitted, task_of
from tests.patience import patient
from tests.procfile import running
from webhook import sandbox
from worker.archive import Keys
from worker.celery import app
from worker.generation import Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.outcome import News
from worker.steps import Step

pytestmark = [pytest.mark.system, pytest.mark.processes]

#: how long ago all work became due: for every clock of these tests
LONG_AGO = timedelta(hours=2)
#: seconds until a machine of these tests has done it, however busy the one is that runs them
PATIENCE = 40
TEN_MINUTES, HOUR = 600, 3600


@dataclass
class Machines:
    """Processes that share a broker, a ledger, a bucket and a provider, each with a clock of its own."""

    env: dict[str, str]
    folder: Path
    bucket: Path
    ledger: Ledger
    processes: ExitStack = field(default_factory=ExitStack)

    def set_clock(self, name: str, ahead: float) -> None:
        """Of this process: so many seconds ahead of the real one, from now on."""
        new = self.folder / f"{name}.new"
        new.write_text(str(ahead), encoding="ascii")
        # In one step: it may be read at any moment.
        new.replace(self._shift_file(name))

    def start(self, name: str, ahead: float = 0) -> None:
        self.set_clock(name, ahead)
        shifted = {"PYTHONPATH": str(Path(__file__).parents[1] / "shifted"), "SHIFT_FILE": str(self._shift_file(name))}
        self.processes.enter_context(running(name, self.env | shifted, self.folder))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def _shift_file(self, name: str) -> Path:
        return self.folder / f"{name}.shift"


@pytest.fixture
def machines(sqlite_url: str, rclone: s3.Server, tmp_path: Path) -> Iterator[Machines]:
    with ExitStack() as stack:
        redis_url = stack.enter_context(running_broker(tmp_path))
        provider = stack.enter_context(sandbox.running(delay=0.05, size=64))
        env = {
            "PATH": f"{DARKROOM.parent}:/usr/bin:/bin",
            "REDIS_URL": redis_url,
            "DATABASE_URL": sqlite_url,
            "ACEDATACLOUD_BASE_URL": provider.url,
            "ACEDATACLOUD_API_TOKEN": "any",
            "DARKROOM_DOWNLOAD_ALLOW": "127.0.0.1",
            **s3.bucket_of(rclone),
            "S3_PREFIX": tmp_path.name,
        }
        ledger = Ledger(sqlite_url, lambda: datetime.now(UTC) - LONG_AGO)
        stack.callback(ledger.close)
        machines = Machines(env, tmp_path, Path(str(rclone.folder)) / s3.BUCKET, ledger)
        with machines.processes:
            yield machines


def due_work(machines: Machines) -> Callable[[], set[str]]:
    """Some of most kinds; what of it is not done yet."""
    ledger = machines.ledger
    to_poll, to_ingest, to_archive = submitted(ledger, 3)
    failure = json.dumps({"success": False, "task_id": task_of(to_ingest), "error": {"code": "bad_request"}}).encode()
    ledger.callbacks.store([delivery(to_ingest.attempt_id, failure, to_ingest.attempt_id)])
    text = Outcome(status=Status.SUCCEEDED, task_id=task_of(to_archive), text={"descriptions": ["a red fox"]})
    assert ledger.generations.apply_outcomes(
        [News(attempt_id=to_archive.attempt_id, outcome=text, cause="callback")]
    ) == ["applied"]
    (described,) = ledger.generations.get(archived(ledger, batch="foxes"))
    manifest = Keys(machines.env["S3_PREFIX"]).manifest(str(described.batch_id), "foxes")
    (to_submit,) = queued(ledger)
    wanted = {
        "submit": (to_submit.id, {State.SUBMITTED, State.SUCCEEDED, State.ARCHIVED}),
        "poll": (to_poll.generation.id, {State.FAILED}),
        "ingest": (to_ingest.generation.id, {State.FAILED}),
        "archive": (to_archive.generation.id, {State.ARCHIVED}),
    }

    def undone() -> set[str]:
        left = {kind for kind, (one, states) in wanted.items() if ledger.generations.get([one])[0].state not in states}
        return left if (machines.bucket / manifest).exists() else left | {"manifest"}

    assert undone() == {"submit", "poll", "ingest", "archive", "manifest"}
    return undone


@pytest.mark.parametrize("ahead", [TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "behind"])
def test_a_worker_whose_clock_is_ten_minutes_off_does_all_its_work(machines: Machines, ahead: float) -> None:
    undone = due_work(machines)
    machines.start("worker", ahead)
    machines.start("clock")
    until_done(machines, undone)


def test_a_clock_that_is_set_back_by_an_hour_goes_on_at_once(machines: Machines) -> None:
    undone = due_work(machines)
    machines.start("clock")
    with Redis.from_url(machines.env["REDIS_URL"]) as broker:
        eventually(lambda: broker.llen("darkroom:submit") > 0, seconds=PATIENCE)
        machines.set_clock("clock", -HOUR)
        # What it sends after the first of them was begun after the step.
        for _ in range(2):
            broker.flushall()
            eventually(lambda: broker.llen("darkroom:submit") > 0, seconds=10)
    machines.start("worker")
    until_done(machines, undone)


def bounded(broker: Redis, url: str) -> None:
    """What this version's clock leaves, however long it was alone."""
    with app.connection_for_write(url) as connection:
        for kind in Step:
            app.send_task(kind, connection=connection)


def unbounded(broker: Redis, url: str) -> None:
    """What an older version's clock left in five hours, and its last word."""
    with app.connection_for_write(url) as connection:
        for queue in ("quick", "submit", "archive"):
            app.send_task("poll", queue=queue, expires=datetime.now(UTC) - LONG_AGO, connection=connection)
            stale = broker.rpop(f"darkroom:{queue}")
            for _ in range(20):
                broker.lpush(f"darkroom:{queue}", *[stale] * 1000)
        app.send_task("submit", connection=connection)


@pytest.mark.parametrize("leave", [bounded, unbounded])
def test_a_worker_that_comes_back_begins_real_work_within_five_seconds(
    machines: Machines, leave: Callable[[Redis, str], None]
) -> None:
    url = machines.env["REDIS_URL"]
    (one,) = queued(machines.ledger)
    machines.ledger.dispatch.run(PROVIDER, PLENTY)
    with Redis.from_url(url) as broker:
        leave(broker, url)
    machines.start("worker")
    eventually(lambda: "ready." in machines.log("worker"), seconds=PATIENCE)
    ready_at = time.monotonic()
    eventually(lambda: machines.ledger.generations.get([one.id])[0].state is not State.QUEUED, seconds=PATIENCE)
    assert time.monotonic() - ready_at < patient(5)


def until_done(machines: Machines, undone: Callable[[], set[str]]) -> None:
    deadline = time.monotonic() + patient(PATIENCE)
    while left := undone():
        logs = "\n".join(machines.log(name)[-1000:] for name in ("worker", "clock"))
        assert time.monotonic() < deadline, f"not done: {left}\n{logs}"
        time.sleep(0.1)
