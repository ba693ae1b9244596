"""`darkroom healthcheck` beside the Procfile's processes as they really run."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases.healthcheck import Process
from tests.broker import running_broker
from tests.computer import DARKROOM, eventually
from tests.patience import patient
from tests.procfile import running
from tests.webhook.serving import KEYS
from worker.embedded.servers import LOOPBACK, free_port

pytestmark = [pytest.mark.system, pytest.mark.processes]


def health(process: str, env: Mapping[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [DARKROOM, "healthcheck", process, "--json"],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if document["ok"] else 1)
    assert "secret" not in done.stdout + done.stderr
    return document


def test_every_process_is_well_from_its_start_to_its_end(sqlite_url: str, migrated_file: Path, tmp_path: Path) -> None:
    with running_broker(tmp_path) as url:
        env = {
            "PATH": f"{DARKROOM.parent}:/usr/bin:/bin",
            **{name: value for name, value in os.environ.items() if name == "PYTHONPATH"},
            "DATABASE_URL": sqlite_url,
            "REDIS_URL": url,
            "DARKROOM_DATA": str(tmp_path),
            "DARKROOM_SIGNING_KEYS": KEYS,
            "ACEDATACLOUD_API_TOKEN": "secret-token",
            "HOST": LOOPBACK,
            "PORT": str(free_port()),
            "API_PORT": str(free_port()),
            "WORKER_CONCURRENCY": "1",
        }
        assert not any(health(process, env)["ok"] for process in Process)
        with ExitStack() as stack:
            processes = {name: stack.enter_context(running(name, env, tmp_path)) for name in Process}
            for name in Process:
                eventually(lambda name=name: health(name, env)["ok"], seconds=90)
            for process in processes.values():
                process.send_signal(signal.SIGTERM)
            for process in processes.values():
                process.wait(patient(20))
            ends = {name: health(name, env) for name in Process}
    assert not any(end["ok"] for end in ends.values()), ends
