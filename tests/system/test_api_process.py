"""The private process as it is really served: killed between commit and answer, and stopped while requests wait."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.factories import failure, submitted
from tests.patience import patient, wait_for
from tests.webhook.serving import KEYS, REFUSED_BROKER
from worker.embedded.servers import LOOPBACK, free_port, http_answers
from worker.generation import State
from worker.ledger import Ledger

pytestmark = [pytest.mark.system, pytest.mark.processes]

_ROOT = Path(__file__).parents[2]
DYING = (
    "granian", "--interface", "wsgi", "--factory", "--workers", "1", "--blocking-threads", "4",
    "--respawn-failed-workers", "tests.system.dying_api:create_app",
)  # fmt: skip


@contextmanager
def served(
    database_url: str, folder: Path, *command: str, **more: str
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    port = free_port()
    env = {
        **os.environ,
        "API_PORT": str(port),
        "GRANIAN_PORT": str(port),
        "DATABASE_URL": database_url,
        "REDIS_URL": REFUSED_BROKER,
        "DARKROOM_DATA": str(folder),
        "DARKROOM_SIGNING_KEYS": KEYS,
        "ACEDATACLOUD_API_TOKEN": "secret",
        **more,
    }
    with (folder / "api.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], env=env, cwd=_ROOT, stdout=log, stderr=log)
    try:
        assert wait_for(lambda: http_answers(LOOPBACK, port, "/v1/openapi.json"), seconds=30), (
            folder / "api.log"
        ).read_text()
        yield port, process
    finally:
        process.terminate()
        process.wait(timeout=patient(20))


def ask(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """Status, headers and document."""
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=patient(60))) as connection:
        sent = {"Content-Type": "application/json", **(headers or {})} if body is not None else {**(headers or {})}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())


@pytest.mark.parametrize("number", [1, 300])
def test_killed_between_commit_and_answer_and_asked_again_it_has_created_everything_once(
    database_url: str, tmp_path: Path, number: int
) -> None:
    body = {"generations": [{"prompt": f"fox {one}"} for one in range(number)], "batch": "foxes"}
    key = {"Idempotency-Key": "order-7"}
    with served(database_url, tmp_path, *DYING, DIED=str(tmp_path / "died")) as (port, _):
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, "POST", "/v1/generations", body, key)
        assert (tmp_path / "died").exists()
        # The server respawns it.
        assert wait_for(lambda: http_answers(LOOPBACK, port, "/v1/openapi.json"), seconds=30)
        status, headers, document = ask(port, "POST", "/v1/generations", body, key)
    assert (status, headers["Idempotent-Replayed"]) == (200, "true")
    with closing(Ledger(database_url)) as ledger:
        written = ledger.generations.page(limit=number + 1)
    assert sorted(one.id for one in written) == sorted(one["id"] for one in document["data"])
    assert len(written) == number


def test_a_retry_that_was_killed_before_its_answer_is_told_as_perhaps_done_before(
    database_url: str, tmp_path: Path
) -> None:
    with closing(Ledger(database_url)) as ledger:
        claims = submitted(ledger, 2, batch="foxes")
        ledger.generations.apply_outcomes([failure(claim) for claim in claims])
    path, key = "/v1/batches/foxes/retry", {"Idempotency-Key": "again-7"}
    dies = "before worker.ledger.access.long_requests LongRequests.keep_request"
    with served(database_url, tmp_path, *DYING, DIED=str(tmp_path / "died"), DIES=dies) as (port, _):
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, "POST", path, {}, key)
        assert (tmp_path / "died").exists()
        assert wait_for(lambda: http_answers(LOOPBACK, port, "/v1/openapi.json"), seconds=30)
        answers = []

        def is_answered() -> bool:
            answers.append(ask(port, "POST", path, {}, key))
            return bool(answers[-1][0] != 409)

        assert wait_for(is_answered, seconds=60, pause=0.5), answers[-1]
    assert answers[0][2]["code"] == "key_in_use"
    status, _, document = answers[-1]
    assert (status, document["retried"], document["sent_before"]) == (200, 0, True)
    with closing(Ledger(database_url)) as ledger:
        assert ledger.generations.counts() == {State.QUEUED: 2}


def test_requests_that_wait_are_answered_when_the_process_is_stopped(sqlite_url: str, tmp_path: Path) -> None:
    with served(sqlite_url, tmp_path, "webhook.api") as (port, process), ThreadPoolExecutor(3) as pool:
        _, _, made = ask(port, "POST", "/v1/generations", {"prompt": "a red fox", "key": "fox"})
        path = f"/v1/generations/{made['id']}"
        waiting = [pool.submit(ask, port, "GET", f"{path}?wait=60") for _ in range(3)]
        # Others are answered meanwhile; this one comes after them, and waits a second.
        assert ask(port, "GET", f"{path}?wait=1")[0] == 200
        assert not any(one.done() for one in waiting)
        process.terminate()
        answers = [one.result(patient(20)) for one in waiting]
        assert process.wait(timeout=patient(20)) == 0
    assert [(status, document["state"]) for status, _, document in answers] == [(200, "queued")] * 3
