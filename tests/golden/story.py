"""One story on one ledger, in which everything comes to pass that a document may tell of.

Time is set by hand, providers and hosts of results are pretended at the wire, and every step that a worker does is done
here one after the other, so that each run tells the same.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
from flask.testing import FlaskClient

from tasks import restore_marker
from tasks.archive import archive
from tasks.cli.ui.operator import who
from tasks.dispatch import dispatch
from tasks.ingest import ingest
from tests import process_services, s3
from tests.clock import FakeClock
from tests.commands import darkroom
from tests.factories import LEASE, POLL_AFTER
from tests.golden.golden import Golden
from tests.patience import patient
from tests.tasks.subscribing import Subscriber, subscriber
from tests.worker.downloads.test_download import ok, reply, serving
from tests.worker.subscribers.test_standard_webhooks import SECRET
from webhook.app import create_app
from worker.celery import DrainingTask
from worker.errors import ProviderError
from worker.generation import Accepted, Link, Outcome, Status
from worker.ledger import Ledger
from worker.ledger.database import REVISION, database
from worker.ledger.outcome import News
from worker.ledger.submission import Claim, Submitted
from worker.services import Services, services

PRICES = """\
currency: USD
prices:
  - {provider: acedata, price: 0.05}
  - {provider: acedata, operation: imagine, speed: turbo, price: 0.10}
  - {provider: kie, price: 0.04}
caps:
  day: 50
  providers: {kie: 20}
  batch: 25
  batches: {posters: 0.05}
"""
#: as bytes, because no two builds of zlib need to make the same of its pixels
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKklEQVR42mM4YSNHU8QwasGoBaMWjFowasGoBaMWjFowasGoBaMWDBULANBkiD1v"
    "Evw7AAAAAElFTkSuQmCC"
)
SPOILED = PNG[:-30] + b"x" * 10 + PNG[-20:]


@dataclass
class Story:
    golden: Golden
    clock: FakeClock
    here: Services
    bucket: Path
    #: where pictures are served; `/spoiled` gives bytes that no program takes for a picture, `/hidden` none
    pictures: str
    listening: Subscriber
    provider: responses.RequestsMock
    receiver: FlaskClient
    claims: dict[str, Claim] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return self.here.ledger

    def id_of(self, prompt: str) -> str:
        return self.claims[prompt].generation.id

    def run(
        self, name: str, *arguments: str, exit_code: int = 0, without: tuple[str, ...] = (), said: str | None = None
    ) -> list[dict[str, Any]]:
        """Call a command with --json and keep what it prints as the golden document `name`; what it printed.

        `without`: fields whose numbers are another machine's on each machine; `said`: on standard input.
        """
        result = darkroom(*arguments, "--json", said=said)
        numbers = re.compile(rf'("(?:{"|".join(without)})": )\d+')
        printed = [json.loads(numbers.sub(r"\1 0", line)) for line in result.stdout.splitlines()]
        self.golden.add(
            re.sub(r"\W+", "-", name),
            {"command": " ".join(("darkroom", *arguments, "--json")), "exit_code": result.exit_code, "stdout": printed},
        )
        assert result.exit_code == exit_code, f"{name}: {result.output}"
        return printed

    def go(self) -> None:
        """Dispatch, and claim what may go; it is found in `claims` by its prompt, its action behind it."""
        dispatch()
        for claim in self.ledger.submissions.claim(100, LEASE):
            one = claim.generation
            self.claims[f"{one.prompt} {one.action or ''}".strip()] = claim

    def answer(self, prompt: str, said: Accepted | ProviderError) -> str:
        """The provider's reply to a submission; the generation."""
        claim = self.claims[prompt]
        self.ledger.submissions.record([Submitted(claim.attempt_id, said)], POLL_AFTER, callbacks=True)
        return claim.generation.id

    def hear(self, prompt: str, status: Status, cause: str = "callback", **facts: Any) -> str:
        """An outcome of one that the provider has accepted; the generation."""
        claim = self.claims[prompt]
        outcome = Outcome(status=status, **facts)
        ends = (self.clock() + timedelta(hours=24),) * len(outcome.links)
        self.ledger.generations.apply_outcomes(
            [News(attempt_id=claim.attempt_id, outcome=outcome, cause=cause, deadlines=ends)]
        )
        return claim.generation.id

    def succeed(self, prompt: str, *files: str, actions: tuple[str, ...] = ("upscale1", "reroll"), **facts: Any) -> str:
        """Accepted, and some seconds later done, with a link to each of these files."""
        task_id = f"task of {prompt}"
        self.answer(prompt, Accepted(task_id))
        self.clock.advance(20)
        links = tuple(Link(f"{self.pictures}/{file}") for file in files)
        parent = {"image_id": f"image of {prompt}"}
        return self.hear(
            prompt, Status.SUCCEEDED, task_id=task_id, links=links, actions=actions, parent=parent, **facts
        )

    def call_back(self, attempt_id: str, body: bytes) -> None:
        """As the provider calls the receiver."""
        url = str(self.here.callback_url("acedata", attempt_id))
        path = url.removeprefix(str(self.here.settings.public_url))
        assert self.receiver.post(path, data=body).status_code == 200
        ingest()

    def archive(self) -> None:
        archive()
        self.here.downloader.close()

    def objects(self, file_name: str) -> Iterator[str]:
        """The text of each object of this name."""
        for file in sorted((self.bucket / self.here.archive.keys.prefix).rglob(file_name)):
            yield file.read_text()


def record(task_id: str, created_at: float, **request: Any) -> dict[str, Any]:
    """A finished task as Ace Data Cloud lists it."""
    picture = f"https://platform.cdn.acedata.cloud/midjourney/{task_id}.png"
    result = {"success": True, "task_id": task_id, "image_url": picture, "raw_image_url": picture, "progress": 100}
    return {
        "id": task_id,
        "type": "imagine",
        "created_at": created_at,
        "finished_at": created_at + 30,
        "request": {"action": "generate", **request},
        "response": {**result, "image_id": "1", "actions": ["upscale1"]},
    }


def _picture(head: bytes) -> bytes:
    if b"/hidden" in head:
        return reply("403 Forbidden")
    return ok(SPOILED if b"/spoiled" in head else PNG)


@contextmanager
def beginning(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, server: s3.Server, folder: Path, clock: FakeClock
) -> Iterator[Story]:
    assert sqlite_url.endswith(f"{folder}/ledger.sqlite3"), "the ledger lies where a data folder has it"
    s3.only_test_servers(monkeypatch, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(database, "system_clock", clock)
    monkeypatch.setattr("worker.wakeup.send", lambda _: None)
    monkeypatch.setattr(restore_marker, "PATIENCE", patient(10))
    # Whether a task notes that it lives depends on when another one did, in whichever test.
    monkeypatch.setattr(DrainingTask, "shows_life", False)
    # In the order in which they are claimed; otherwise the busier of two threads decides on the numbers of events.
    monkeypatch.setattr("tasks.archive.THREADS", 1)
    monkeypatch.setattr("tasks.archive.RESERVE", 0)
    (folder / "prices.yaml").write_text(PRICES)
    with ExitStack() as stack:
        pictures = stack.enter_context(serving(_picture))
        listening = stack.enter_context(subscriber())
        environment = {
            "TZ": "UTC",
            "DARKROOM_DATA": str(folder),
            "DARKROOM_PRICES": str(folder / "prices.yaml"),
            "DARKROOM_SIGNING_KEYS": "k1:" + "s" * 32,
            "DARKROOM_DOWNLOAD_ALLOW": "127.0.0.1",
            "DARKROOM_NOTIFY_URLS": listening.url,
            "DARKROOM_NOTIFY_SECRET": SECRET,
            "PUBLIC_URL": "http://127.0.0.1:1",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "S3_BUCKET": s3.BUCKET,
            "S3_PREFIX": folder.name,
            "AWS_ENDPOINT_URL": server.endpoint,
            "ACEDATACLOUD_API_TOKEN": "studio:key-of-the-studio,shop:key-of-the-shop",
            "KIE_API_KEY": "key-at-kie",
            "ACEDATACLOUD_RATE": "1000",
            "KIE_RATE": "1000",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        time.tzset()
        process_services.forget()
        stack.callback(process_services.forget)
        provider = stack.enter_context(responses.RequestsMock(assert_all_requests_are_fired=False))
        here = services()
        (subscribed,) = here.settings.subscribers
        here.ledger.events.register_subscribers([subscribed.name])
        known = {
            str(folder): "<folder>",
            folder.name: "<prefix>",
            who(): "<somebody>",
            subscribed.name: "<subscriber>",
            f'"{REVISION}"': '"<revision>"',
        }
        yield Story(
            Golden("story", known),
            clock,
            here,
            Path(str(server.folder)) / s3.BUCKET,
            f"http://127.0.0.1:{pictures.port}",
            listening,
            provider,
            create_app(here).test_client(),
        )
