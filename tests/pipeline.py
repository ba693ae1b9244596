"""The whole flow in one process: real ledger, receiver, provider (the sandbox) and bucket; Celery is played by hand.

Bells are recorded and answered in their order. Celery's eager mode would run the next step inside the step that rings,
and so hide a bell that is rung before its commit.
"""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests import process_services, s3
from tests.patience import patient, wait_for
from webhook import sandbox
from webhook.app import create_app
from webhook.sandbox import Sandbox
from worker.celery import app as celery_app
from worker.generation import FINAL, Asset, Generation, GenerationRequest, Operation, State
from worker.ledger.generations import NewGeneration, Story
from worker.providers import PROVIDERS, http, provider_class
from worker.services import Services, services
from worker.settings.settings import provider_prefixes

celery_app.loader.import_default_modules()

KEYS = tuple(provider_class(name).key_setting for name in PROVIDERS)
DONE = FINAL


class MovableClock:
    """The real time, which a test can push forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **by: float) -> None:
        self.ahead += timedelta(**by)


class Pipeline:
    def __init__(self, sandbox: Sandbox, bucket: Path, clock: MovableClock) -> None:
        self.sandbox = sandbox
        self.bucket = bucket
        self.clock = clock
        self.bells: deque[str] = deque()
        self._rung = threading.Event()
        self.here: Services = services()
        self.ledger = self.here.ledger

    def submit(
        self,
        *prompts: str,
        provider: str = "acedata",
        operation: Operation = Operation.IMAGINE,
        follow_up: tuple[str, ...] = (),
        **options: Any,
    ) -> list[str]:
        """Write generations down and ring, as the command line does; their ids."""
        wanted = [
            NewGeneration(
                provider=provider,
                request=GenerationRequest(operation=operation, prompt=prompt, options=options),
                follow_up=follow_up,
            )
            for prompt in prompts
        ]
        made = self.ledger.generations.create(wanted)
        self.bells.append("dispatch")
        return [generation.id for generation in made]

    def ring(self, steps: Iterable[str]) -> None:
        """What the process under test does instead of sending a message."""
        self.bells.extend(steps)
        self._rung.set()

    def answer_bells(self) -> None:
        """Do what every bell that was rung asks for, and what their work rings in turn."""
        while self.bells:
            self.step(self.bells.popleft())

    def step(self, task: str) -> None:
        celery_app.tasks[task]()

    def until(self, done: Callable[[], object], seconds: float = 20) -> None:
        """Let worker and clock go on until `done`."""

        def done_after_another_round() -> bool:
            moved_to = self.clock.ahead
            self._rung.clear()
            self.answer_bells()
            self.step("reconcile")
            if done():
                return True
            if self.clock.ahead == moved_to:
                # Rounds in which nothing happens would take the CPU from what is waited for.
                self._rung.wait(0.1)
            return False

        if not (done() or wait_for(done_after_another_round, seconds, pause=0)):
            pytest.fail(f"not done after {seconds} s: {[self.brief(one) for one in self.all()]}")

    def until_called_back(self, generation_id: str, seconds: float = 20) -> None:
        """Wait for the provider, and do nothing meanwhile."""
        assert wait_for(lambda: self.story(generation_id).callbacks, seconds), "the provider did not call back"

    def until_settled(self, seconds: float = 20) -> None:
        """Until every generation is final and every follow-up was created."""
        self.until(lambda: all(one.state in DONE for one in self.all()) and not self.ledger.maintenance.due(), seconds)

    def all(self) -> list[Generation]:
        return self.ledger.generations.page(limit=1000)[::-1]

    def get(self, generation_id: str) -> Generation:
        return self.ledger.generations.get([generation_id])[0]

    def story(self, generation_id: str) -> Story:
        return self.ledger.generations.story(generation_id)

    def assets(self, generation_id: str) -> list[Asset]:
        return self.ledger.generations.assets_of([generation_id])[generation_id]

    def path(self, generation_id: str) -> list[State]:
        """The states that it went through."""
        return [move.to_state for move in self.story(generation_id).transitions]

    def objects(self) -> dict[str, bytes]:
        """What lies in the bucket, by key."""
        files = (file for file in (self.bucket / self.here.archive.keys.prefix).rglob("*") if file.is_file())
        files = (file for file in files if file.parent.name != ".darkroom")
        return {str(file.relative_to(self.bucket)): file.read_bytes() for file in files}

    def charges(self) -> int:
        return int(self.sandbox.bill()["charges"])

    def served_hashes(self) -> set[str]:
        """The SHA-256 of every picture that the sandbox has served."""
        return {entry["sha256"] for entry in self.sandbox.log("download") if entry["status"] == 200}

    def brief(self, one: Generation) -> str:
        errors = [asset.error for asset in self.assets(one.id)]
        return f"{one.prompt!r} {one.action or ''} {one.state} {one.reason} {one.message} {errors}"


#: starts everything; see `starting`
Start = Callable[..., Pipeline]


@contextmanager
def soon_without_answer() -> Iterator[float]:
    """A submission that hangs does so for these seconds; whoever is answered has the real time-out outside of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "READ_TIMEOUT", patient(0.3))
        yield http.READ_TIMEOUT


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def running_pipeline(
    monkeypatch: pytest.MonkeyPatch,
    *,
    database_url: str,
    sandbox: Sandbox,
    server: s3.Server,
    folder: Path,
    callbacks: bool = True,
) -> Iterator[Pipeline]:
    """Everything connected. `callbacks`: whether the provider can reach the receiver."""
    s3.only_test_servers(monkeypatch, folder)
    receiver = make_server("127.0.0.1", 0, _later, threaded=True)
    environment = {
        "DATABASE_URL": database_url,
        "DARKROOM_DATA": str(folder),
        "S3_BUCKET": s3.BUCKET,
        "S3_PREFIX": folder.name,
        "AWS_ENDPOINT_URL": server.endpoint,
        "DARKROOM_SIGNING_KEYS": "k1:" + "s" * 32,
        "DARKROOM_DOWNLOAD_ALLOW": "127.0.0.1",
        **{name: os.environ.get(name, "token-of-the-tests") for name in KEYS},
        **{f"{prefix}_BASE_URL": sandbox.url for prefix in provider_prefixes()},
        **{f"{prefix}_RATE": "1000" for prefix in provider_prefixes()},
        # Every story would decode its images once more; those about thumbnails turn them on.
        "DARKROOM_THUMBNAILS": os.environ.get("DARKROOM_THUMBNAILS", "false"),
        "DARKROOM_POLL_SECONDS": "30" if callbacks else "0.2",
    }
    if callbacks:
        environment["PUBLIC_URL"] = f"http://127.0.0.1:{receiver.server_port}"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    clock = MovableClock()
    process_services.tell_time(monkeypatch, clock)
    process_services.forget()
    pipeline = Pipeline(sandbox, Path(str(server.folder)) / s3.BUCKET, clock)
    monkeypatch.setattr("worker.wakeup.send", pipeline.ring)

    def ring_here(*steps: str) -> bool:
        pipeline.ring(steps)
        return True

    # Its receiver may ring once more after the test, which is no business of the next one.
    monkeypatch.setattr("webhook.app.ring", ring_here)
    receiver.app = create_app(pipeline.here)
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield pipeline
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()
        pipeline.here.close()
        process_services.forget()


@contextmanager
def starting(monkeypatch: pytest.MonkeyPatch, database_url: str, server: s3.Server, folder: Path) -> Iterator[Start]:
    """A function that starts everything: options of the sandbox as keywords, settings as keywords in capitals."""
    with ExitStack() as stack:

        def start(*, server: s3.Server = server, callbacks: bool = True, **options: Any) -> Pipeline:
            for name in [name for name in options if name.isupper()]:
                monkeypatch.setenv(name, options.pop(name))
            provider = stack.enter_context(sandbox.running(**{"delay": 0.05, "size": 64, **options}))
            return stack.enter_context(
                running_pipeline(
                    monkeypatch,
                    database_url=database_url,
                    sandbox=provider,
                    server=server,
                    folder=folder,
                    callbacks=callbacks,
                )
            )

        yield start


def _later(_environ: Any, _start_response: Any) -> Any:
    raise AssertionError("the receiver's application is set before it serves")
