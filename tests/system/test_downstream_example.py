"""The Celery project of the examples takes our events from the broker that both of us use."""

from pathlib import Path

import pytest

from tasks.notify import notify
from tasks.sweep import sweep
from tests import process_services
from tests.broker import running_broker
from tests.computer import DARKROOM, eventually
from tests.factories import archived
from tests.procfile import running
from worker.celery import app
from worker.services import services

pytestmark = [pytest.mark.system, pytest.mark.processes]

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "downstream"


def test_its_task_gets_each_event(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.wakeup.ring", lambda *_: True)
    monkeypatch.setattr("tasks.sweep.ring", lambda *_: True)
    with running_broker(tmp_path) as url:
        env = {"PATH": f"{DARKROOM.parent}:/usr/bin:/bin", "REDIS_URL": url, "PYTHONUNBUFFERED": "1"}
        command = f"cd {EXAMPLE} && exec celery -A jobs worker -Q shop -P solo -l info"
        with running("jobs", {**env, "PYTHONDONTWRITEBYTECODE": "1"}, tmp_path, command):
            monkeypatch.setattr(app.conf, "broker_url", url)
            monkeypatch.setenv("DATABASE_URL", sqlite_url)
            monkeypatch.setenv("REDIS_URL", url)
            monkeypatch.setenv("DARKROOM_NOTIFY_TASKS", "shop.on_event@shop")
            process_services.forget()
            sweep()
            archived(services().ledger, key="sku-1")
            notify()
            process_services.forget()

            def told() -> list[str]:
                log = (tmp_path / "jobs.log").read_text(encoding="utf-8", errors="replace")
                return [line for line in log.splitlines() if "generation.archived sku-1" in line]

            eventually(lambda: len(told()) == 1, seconds=30)
