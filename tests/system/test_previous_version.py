"""Two versions at once: code of an earlier commit on this version's ledger, and this version on a later one's."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock

import pytest

from tasks.submit import THREADS, submit
from tests import process_services
from tests.earlier_code import REPOSITORY, files_of, git
from tests.factories import PLENTY, PROVIDER, queued
from tests.next_version import NEXT, upgrade_by_next_version
from tests.serving import HttpServer, at_work
from worker.generation import State
from worker.ledger import Ledger, migrations
from worker.ledger.database import compatibility, oldest_code
from worker.services import services

pytestmark = pytest.mark.system

VERSIONS = (Path(migrations.__file__).parent / "versions").relative_to(REPOSITORY)
#: all that its callers do with the ledger, as its own tests tell it (`cut_stories`), with nothing left to do at the end
STORIES = """
import sys
from contextlib import nullcontext
import worker
assert worker.__file__.startswith(sys.argv[1]), worker.__file__
from tests.clock import FakeClock
from tests.worker.ledger.cut_stories import STORIES, Process, events
from worker.ledger import Ledger

ledger = Ledger(sys.argv[2])
for story in STORIES:
    with ledger.database.write() as connection:
        for table in reversed(events.metadata.sorted_tables):
            connection.execute(table.delete())
    ledger.database.clock = clock = FakeClock()
    process = Process(ledger, clock, lambda verb: nullcontext())
    story(process)
    ending = process.ending()
    assert not ending.untold and not ending.due, (story.__name__, ending)
    print(story.__name__)
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the commit that `tests/compatibility.txt` names."""
    lines = (REPOSITORY / "tests" / "compatibility.txt").read_text().splitlines()
    (commit,) = (line for line in lines if line and not line.startswith("#"))
    return files_of(commit, tmp_path_factory.mktemp("earlier"))


def needed_and_had(earlier: Path, ledger: Ledger) -> tuple[str, str]:
    """The oldest revision whose code may begin work on this version's ledger, and that of the earlier code."""
    versions = earlier / VERSIONS
    with ledger.database.read() as connection:
        return oldest_code(connection), max(file.name[:4] for file in versions.glob("[0-9]*.py"))


def test_its_code_may_begin_work_on_this_ledger(earlier: Path, sqlite_url: str, opened: Callable[[str], Ledger]):
    needed, had = needed_and_had(earlier, opened(sqlite_url))
    if had >= needed:
        return
    brought = git("log", "--format=%H", "--diff-filter=A", "--", f"{VERSIONS}/{needed}_*.py").decode().split()
    head = git("rev-parse", "HEAD").decode().strip()
    if brought in ([], [head]):
        pytest.skip(f"NOT TESTED: the previous version, because no commit before this one has migration {needed}")
    pytest.fail(
        f"tests/compatibility.txt names code of revision {had}, but migration {needed} lets no older code than its own "
        f"in: name {brought[0]} there, or a newer commit"
    )


def test_its_code_does_all_its_work_on_this_ledger(earlier: Path, database_url: str, opened: Callable[[str], Ledger]):
    needed, had = needed_and_had(earlier, opened(database_url))
    if had < needed:
        pytest.skip(f"NOT TESTED: the previous version, because migration {needed} lets its code begin nothing")
    done = subprocess.run(
        [sys.executable, "-c", STORIES, earlier, database_url],
        cwd=earlier,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(earlier)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@contextmanager
def provider_that_answers_after(happening: Callable[[], None]) -> Iterator[str]:
    """It takes all; its first answer, and so every other one, waits until that has happened."""
    lock = Lock()
    taken: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                if not taken:
                    happening()
                taken.append(f"task-{len(taken)}")
                body = json.dumps({"success": True, "task_id": taken[-1]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with at_work(HttpServer(("127.0.0.1", 0), Answer)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_a_worker_whose_ledger_is_upgraded_beyond_it_keeps_what_it_paid_for_and_submits_no_more(
    blank_database_url: str, opened: Callable[[str], Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ledger = opened(blank_database_url)
    migrations.upgrade(ledger.database)
    queued(ledger, THREADS + 4)
    ledger.dispatch.run(PROVIDER, PLENTY)
    monkeypatch.setattr(compatibility, "FRESH_SECONDS", 0)
    monkeypatch.setattr("worker.wakeup.send", lambda _: None)
    monkeypatch.setenv("DATABASE_URL", blank_database_url)
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "any")
    with provider_that_answers_after(lambda: upgrade_by_next_version(ledger, tmp_path / "next", NEXT)) as url:
        monkeypatch.setenv("ACEDATACLOUD_BASE_URL", url)
        process_services.forget()
        # Or the ledger would be compared with a bucket first.
        services().ledger.restore.verify_marker(None)
        submit()
        process_services.forget()
    assert ledger.generations.counts() == {State.SUBMITTED: THREADS, State.QUEUED: 4}
