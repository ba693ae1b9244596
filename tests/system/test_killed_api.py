"""A batch comes in over HTTP, and kill -9 of the API in the middle: the same request completes it, each row once."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases.once_only import LEASE
from tests.patience import patient, wait_for
from tests.system.test_killed_batch import is_half_written
from worker.embedded.servers import LOOPBACK, free_port, http_answers
from worker.ledger import Ledger

ROWS = 5000
SHEET = ("sku,prompt\n" + "".join(f"{n:05},a fox {n}\n" for n in range(ROWS))).encode()
WITHOUT_KEYS = "".join(f"a fox {n}\n" for n in range(ROWS)).encode()

pytestmark = [pytest.mark.system, pytest.mark.processes, pytest.mark.timeout(patient(600))]


@contextmanager
def serving(database_url: str, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    port = free_port()
    env = {
        **os.environ,
        "API_PORT": str(port),
        "DATABASE_URL": database_url,
        "DARKROOM_DATA": str(folder),
        "ACEDATACLOUD_API_TOKEN": "token",
    }
    with (folder / "api.log").open("ab") as log:
        command = [sys.executable, "-m", "webhook.api"]
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        assert wait_for(lambda: http_answers(LOOPBACK, port, "/v1/batches"), 60), (folder / "api.log").read_text()
        yield f"http://{LOOPBACK}:{port}", process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=patient(20))


def post(url: str, content: bytes, media: str, **headers: str) -> tuple[int, Any]:
    """The status and the document; 0 if there was no answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Type": media}
    request = urllib.request.Request(f"{url}/v1/batches?name=shop", content, named, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=patient(120)) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except OSError:
        return 0, None


@pytest.mark.parametrize(
    ("content", "media", "headers"),
    [(SHEET, "text/csv", {}), (WITHOUT_KEYS, "text/plain", {"Idempotency_Key": "order-4711"})],
    ids=["by the keys of its rows", "by an idempotency key"],
)
def test_the_same_request_completes_what_was_killed_and_each_row_is_there_once(
    sqlite_url: str, tmp_path: Path, content: bytes, media: str, headers: dict[str, str]
) -> None:
    answers: list[tuple[int, Any]] = []
    with closing(Ledger(sqlite_url)) as ledger, serving(sqlite_url, tmp_path) as (url, process):
        sender = threading.Thread(target=lambda: answers.append(post(url, content, media, **headers)))
        sender.start()
        assert wait_for(lambda: is_half_written(ledger) or not sender.is_alive(), 120)
        os.killpg(process.pid, signal.SIGKILL)
        sender.join()
    assert answers == [(0, None)], "it was to die before its answer"

    statuses: Counter[int] = Counter()
    with serving(sqlite_url, tmp_path) as (url, _):

        def completed() -> Any:
            status, document = post(url, content, media, **headers)
            statuses[status] += 1
            assert status in {200, 201, 409}, document
            return document if status != 409 else None

        document = wait_for(completed, LEASE.total_seconds() * 2, pause=0.5)
        again, repeated = post(url, content, media, **headers)
    assert (document["name"], document["rows"], document["created"] + document["existing"]) == ("shop", ROWS, ROWS)
    assert (again, repeated["batch"]) == (200, document["batch"])
    with closing(Ledger(sqlite_url)) as ledger:
        made = Counter(one.prompt for one in ledger.generations.page(limit=2 * ROWS))
    assert made == {f"a fox {n}": 1 for n in range(ROWS)}
