"""Links to approvals at the private process as it is really served, behind a proxy's headers, and killed."""

import os
import re
import shlex
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from tasks.usecases.approval_links import approval_links
from tests.asking import a_recipe, asked
from tests.patience import patient, wait_for
from tests.procfile import running
from worker.embedded.servers import free_port, http_answers
from worker.ledger import Ledger
from worker.ledger.approvals import Approval, ApprovalState
from worker.settings.settings import Settings

pytestmark = pytest.mark.system
KEYS = "k1:" + "k" * 32
#: as a reverse proxy sends what comes from the network
PROXIED = {
    "Host": "darkroom.example",
    "X-Forwarded-For": "203.0.113.7",
    "Via": "1.1 proxy",
    "X-Forwarded-Proto": "https",
}
#: dies when the decision is written and nobody has heard of it
DEADLY = """
import os, signal
from worker.ledger.approvals import Approvals
decide = Approvals.decide
def die(*args, **facts):
    decide(*args, **facts)
    os.kill(os.getpid(), signal.SIGKILL)
Approvals.decide = die
"""


@contextmanager
def served(database_url: str, folder: Path, script: str = "") -> Iterator[str]:
    port = str(free_port())
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "API_HOST": "127.0.0.1",
        "API_PORT": port,
        "CONSOLE_URL": "https://darkroom.example",
        "DARKROOM_SIGNING_KEYS": KEYS,
        "DATABASE_URL": database_url,
        "DARKROOM_DATA": str(folder),
        "LOG_LEVEL": "DEBUG",
        "ACEDATACLOUD_API_TOKEN": "any",
    }
    whole = f"{script}\nfrom webhook.api.__main__ import main\nmain()"
    with running("api", env, folder, f"exec {sys.executable} -c {shlex.quote(whole)}"):
        assert wait_for(lambda: http_answers("127.0.0.1", int(port), "/v1/openapi.json"), 60), log_of(folder)
        yield f"http://127.0.0.1:{port}"


def log_of(folder: Path) -> str:
    return (folder / "api.log").read_text()


def ask(url: str, method: str = "GET", **form: object) -> tuple[int, str]:
    body = urllib.parse.urlencode(form, doseq=True).encode() if method == "POST" else None
    request = urllib.request.Request(url, body, PROXIED, method=method)
    try:
        with urllib.request.urlopen(request, timeout=patient(30)) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def path_of(database_url: str, approval: Approval) -> str:
    settings = Settings(database_url=database_url, darkroom_signing_keys=KEYS)  # type: ignore[arg-type]
    return urllib.parse.urlsplit(approval_links(settings)(approval.id)).path


def test_a_scanner_behind_a_proxy_decides_nothing_and_a_person_once(database_url: str, tmp_path: Path) -> None:
    with closing(Ledger(database_url)) as ledger, served(database_url, tmp_path) as url:
        (approval,) = asked(ledger, a_recipe(tmp_path), key="sku-7")
        path = path_of(database_url, approval)
        status, page = ask(url + path)
        assert (status, "sku-7" in page) == (200, True)
        for link in (path, *(f"/approvals/{one}" for one in re.findall(r'(?:src|href)="([^"]+)"', page))):
            for method in ("GET", "HEAD", "OPTIONS"):
                ask(url + link, method)
        assert ledger.approvals.get(approval.id) == approval
        # The same process lets nobody from the network in without a token.
        assert ask(f"{url}/v1/approvals")[0] == 401
        assert ask(url + path, "POST", decision="approve", pick=[2, 4], name="Ada")[0] == 200
        assert ask(url + path, "POST", decision="approve", pick=[2, 4])[0] == 200
        assert ask(url + path, "POST", decision="reject")[0] == 409
        assert ledger.approvals.get(approval.id).decided_by == "link (Ada)"
        assert len(ledger.generations.story(approval.generation_id).children) == 2
        assert path.rpartition(".")[2] not in log_of(tmp_path)


def test_a_decision_before_a_kill_is_there_afterwards_and_may_be_sent_again(database_url: str, tmp_path: Path) -> None:
    with closing(Ledger(database_url)) as ledger:
        (approval,) = asked(ledger, a_recipe(tmp_path))
        path = path_of(database_url, approval)
        with served(database_url, tmp_path, DEADLY) as url, pytest.raises((OSError, HTTPException)):
            ask(url + path, "POST", decision="approve", pick=3)
        assert ledger.approvals.get(approval.id).state is ApprovalState.DECIDED
        with served(database_url, tmp_path) as url:
            status, page = ask(url + path, "POST", decision="approve", pick=3)
            assert (status, "Approved: image 3" in page) == (200, True)
        assert len(ledger.generations.story(approval.generation_id).children) == 1
        assert "dispatch" in ledger.maintenance.due()
