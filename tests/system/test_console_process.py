"""The console as it is really served: killed between what a form did and its answer, and without its database."""

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.asking import a_recipe, asked
from tests.factories import POLL_AFTER, claimed, queued
from tests.patience import patient, wait_for
from tests.postgres import bundled_binaries, running_server
from tests.system.test_api_process import DYING, served
from webhook.console import problems
from worker.embedded.servers import LOOPBACK
from worker.errors import Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.migrations import upgrade
from worker.ledger.submission import Submitted

pytestmark = [pytest.mark.system, pytest.mark.processes]

#: where it dies: after the commit of what was asked, and before the console has noted that the form was carried out
_BEFORE_IT_IS_NOTED = "before worker.ledger.access.long_requests LongRequests.keep_request"


class _NotFollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Answer(NamedTuple):
    status: int
    text: str
    location: str


class Tab:
    """A browser's tab without scripts."""

    def __init__(self, port: int) -> None:
        self._address = f"http://{LOOPBACK}:{port}"
        cookies = urllib.request.HTTPCookieProcessor()
        self._opener = urllib.request.build_opener(cookies, _NotFollowed)

    def open(self, path: str, form: dict[str, str] | None = None) -> Answer:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        asked = urllib.request.Request(f"{self._address}{path}", data, {"Accept": "text/html"})
        try:
            with self._opener.open(asked, timeout=patient(60)) as answer:
                return Answer(answer.status, answer.read().decode(), "")
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), error.headers.get("Location", ""))

    def hidden(self, path: str) -> dict[str, str]:
        """What every form of a page has."""
        return dict(re.findall(r'name="(csrf|once)" value="([^"]+)"', self.open(path).text))

    def send_until_it_is_carried_out(self, path: str, form: dict[str, str]) -> Answer:
        """As somebody does who reads that it is being carried out, and tries again."""
        found = None

        def is_done() -> bool:
            nonlocal found
            with suppress(OSError, http.client.HTTPException):
                found = self.open(path, form)
            return found is not None and problems._BEING_DONE not in found.text

        assert wait_for(is_done, seconds=60), found
        assert found is not None
        return found


def killed_with(database_url: str, folder: Path, page: str, path: str, form: dict[str, str], dies: str) -> Answer:
    """The answer to the form that is sent again after the process was killed with it."""
    with served(database_url, folder, *DYING, DIED=str(folder / "died"), DIES=dies) as (port, _):
        tab = Tab(port)
        form = {**tab.hidden(page), **form}
        with pytest.raises((OSError, http.client.HTTPException)):
            tab.open(path, form)
        assert (folder / "died").exists()
        return tab.send_until_it_is_carried_out(path, form)


def test_a_submission_that_was_killed_with_its_answer_is_there_once(database_url: str, tmp_path: Path) -> None:
    form = {"prompts": "a fox", "provider": "acedata", "operation": "imagine"}
    dies = "after worker.ledger.generations.create Creation.create_once"
    answer = killed_with(database_url, tmp_path, "/submit", "/submit", form, dies)
    with closing(Ledger(database_url)) as ledger:
        (made,) = ledger.generations.page()
    assert made.id in answer.location


def test_a_new_submission_of_what_was_unconfirmed_is_sent_once(database_url: str, tmp_path: Path) -> None:
    with closing(Ledger(database_url)) as ledger:
        (claim,) = claimed(ledger)
        lost = Uncertain("no answer", code="read_timeout")
        ledger.submissions.record([Submitted(claim.attempt_id, lost)], POLL_AFTER)
    generation = claim.generation.id
    form = {"decision": "resubmit", "typed": "submit again", "attempt": claim.attempt_id}
    path = f"/operate/unconfirmed/{generation}"
    answer = killed_with(database_url, tmp_path, "/operate/unconfirmed", path, form, _BEFORE_IT_IS_NOTED)
    assert answer.status == 409
    assert "This form was sent before, and may have been carried out then; this time: gen_" in answer.text
    with closing(Ledger(database_url)) as ledger:
        (now,) = ledger.generations.get([generation])
        assert now.state is State.QUEUED
        moves = [str(one) for one in ledger.generations.transitions_of([generation])[generation]]
    assert sum("resubmit" in one for one in moves) == 1, moves


def test_an_action_on_many_is_told_as_perhaps_done_before(database_url: str, tmp_path: Path) -> None:
    with closing(Ledger(database_url)) as ledger:
        ids = [one.id for one in queued(ledger, 3)]
    seen = {"newest": max(ids), "most": "3", "seen_at": datetime.now(UTC).isoformat()}
    form = {"action": "cancel", "picks": " ".join(ids), **seen}
    # What the look at it gives is as on any page.
    answer = killed_with(database_url, tmp_path, "/submit", "/gallery/actions/confirmed", form, _BEFORE_IT_IS_NOTED)
    with closing(Ledger(database_url)) as ledger:
        assert ledger.generations.counts() == {State.CANCELLED: 3}
    assert answer.status == 303
    assert "number=0&left=3&sent=before" in answer.location


def test_a_decision_creates_what_follows_once(database_url: str, tmp_path: Path) -> None:
    with closing(Ledger(database_url)) as ledger:
        (approval,) = asked(ledger, a_recipe(tmp_path))
    path = f"/review/{approval.id}"
    killed_with(database_url, tmp_path, path, path, {"decision": "approve", "pick": "2"}, _BEFORE_IT_IS_NOTED)
    with closing(Ledger(database_url)) as ledger:
        children = ledger.generations.children([approval.generation_id])
    assert len(children) == 1


def test_a_board_without_its_database_says_so_and_is_right_again_with_it(tmp_path: Path) -> None:
    binaries = bundled_binaries()
    assert binaries is not None
    with running_server(binaries) as server:
        server.create("board")
        url = server.url("board")
        with closing(Ledger(url)) as ledger:
            upgrade(ledger.database)
        with served(url, tmp_path, "webhook.api") as (port, _):
            tab = Tab(port)
            assert tab.open("/").status == 200
            with server.away():
                away = tab.open("/")
            assert away.status == 503
            assert "Traceback" not in away.text
            assert "The ledger cannot be used now" in away.text
            assert wait_for(lambda: tab.open("/").status == 200, seconds=30)
