"""GET /livez: does the process live? GET /readyz: can it keep callbacks, and will somebody work on them?"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

from flask import Blueprint, Response, jsonify

from tasks.usecases.clocks import complaint
from tasks.waiting import SILENCE
from webhook.committing import HANGS_AFTER, MOST_HANGING, GroupCommit
from worker.errors import ConfigurationError
from worker.ledger import Ledger
from worker.ledger.database import Clock
from worker.runtime import watchdog

log = logging.getLogger(__name__)

#: seconds that an answer of a dependency stands, so that probes cannot burden it
KEPT = 2.0
#: seconds that /readyz waits for its dependencies; most probes give up after one
PATIENCE = 0.8

#: seconds after a store that failed until /readyz tries one of its own
TRY_AGAIN = 5.0

#: a worker that was silent for so long was taken away on purpose, like a container that was replaced
GONE_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a dependency; `detail` is a sentence for a person and holds no address and no secret."""

    status: Literal["ok", "degraded", "unavailable"]
    detail: str = ""


OK = Finding("ok")


class Dependency:
    """Asked in a thread of its own: no time-out of any library bounds what a frozen server can cost."""

    def __init__(
        self, check: Callable[[], Finding], otherwise: Finding, reconnect: Callable[[], None] | None = None
    ) -> None:
        """`otherwise` is the finding when `check` raises or has not come to an end in time.

        `reconnect` is called before the check that follows one that hangs.
        """
        self._check = check
        self._otherwise = otherwise
        self._reconnect = reconnect
        self._hanging: list[Future[Finding]] = []
        self._lock = threading.Lock()
        self._asked: Future[Finding] = Future()
        self._asked.set_result(otherwise)
        self._asked_at = -KEPT

    def ask(self) -> None:
        """Start a check, unless one is under way and does not hang, or the last one is young."""
        with self._lock:
            age = time.monotonic() - self._asked_at
            hangs = not self._asked.done()
            if age >= (HANGS_AFTER if hangs else KEPT):
                if hangs:
                    self._leave()
                self._asked = Future()
                self._asked_at = time.monotonic()
                prepare = self._reconnect if hangs else None
                threading.Thread(target=self._answer, args=(self._asked, prepare), name="readyz", daemon=True).start()

    def _leave(self) -> None:
        self._hanging = [*(one for one in self._hanging if not one.done()), self._asked]
        if len(self._hanging) > MOST_HANGING:
            watchdog.end_process(f"{len(self._hanging)} checks of /readyz wait for an answer that does not come")

    def finding(self) -> Finding:
        """What the latest check says, at most PATIENCE seconds after it was started."""
        try:
            return self._asked.result(timeout=max(0.0, self._asked_at + PATIENCE - time.monotonic()))
        except TimeoutError:
            return self._otherwise

    def _answer(self, asked: Future[Finding], prepare: Callable[[], None] | None) -> None:
        finding = self._otherwise
        try:
            if prepare is not None:
                prepare()
            finding = self._check()
        except Exception as error:  # noqa: BLE001  whatever it is, the dependency is not well
            log.warning("not ready: %s", error)
        asked.set_result(finding)


def dependencies(
    ledger: Ledger, clock: Clock, broker_error: Callable[[], timedelta | None], group: GroupCommit
) -> Mapping[str, Dependency]:
    """`broker_error` says how far this machine's clock is ahead of the broker's, and raises when that does not answer.

    `group` knows whether the latest callback could be stored.

    A clock that differs degrades, and refuses no callback: what comes is stamped with the ledger's own time. A ledger
    that does not answer is closed, so that the next question goes over a new connection.
    """

    def check_broker() -> Finding:
        wrong = complaint("broker", broker_error())
        return Finding("degraded", wrong) if wrong else OK

    return {
        "ledger": Dependency(
            partial(_check_ledger, ledger, group),
            Finding("unavailable", "the ledger does not answer: callbacks get a 503 until it does"),
            ledger.close,
        ),
        "broker": Dependency(
            check_broker, Finding("degraded", "the broker does not answer: callbacks are kept and wait for it")
        ),
        "workers": Dependency(
            partial(_check_workers, ledger, clock),
            Finding("degraded", "not known while the ledger does not answer"),
            ledger.close,
        ),
        "submissions": Dependency(
            partial(_check_gate, ledger),
            Finding("degraded", "not known while the ledger does not answer"),
            ledger.close,
        ),
    }


def _check_ledger(ledger: Ledger, group: GroupCommit) -> Finding:
    try:
        objection = ledger.maintenance.ping()
        if not _can_store(ledger, group):
            return Finding("unavailable", "the last callback could not be stored: see the log of the receiver")
    except ConfigurationError as error:
        # What the database says may name its host.
        log.warning("not ready: %s", error)
        return Finding("unavailable", "the ledger cannot be used as it is: run `darkroom db upgrade`, or see the log")
    # Not unavailable: callbacks are kept all the same.
    wrong = str(objection) if objection else complaint("database", ledger.database.local_error)
    return Finding("degraded", wrong) if wrong else OK


def _can_store(ledger: Ledger, group: GroupCommit) -> bool:
    """A ledger that can be read may have no room: the last store counts, and from time to time one of our own."""
    failed_at = group.failed_at
    if failed_at is None:
        return True
    if time.monotonic() - failed_at < TRY_AGAIN:
        return False
    # Noted before: it may hang, or raise.
    group.note(False)
    ledger.callbacks.try_store()
    group.note(True)
    return True


def _check_workers(ledger: Ledger, clock: Clock) -> Finding:
    now = clock()
    beats = ledger.maintenance.heartbeats()
    known = [(beat, quiet) for beat in beats if (quiet := beat.silence(now)) < GONE_AFTER and not beat.is_stopped]
    if not known:
        return Finding("degraded", "no worker has reported within the last hour: start one (`worker` in the Procfile)")
    # Anybody may ask: no names of machines.
    if silent := [quiet for _, quiet in known if quiet > SILENCE]:
        many = f"{len(silent)} of {len(known)} workers are silent, the longest for {max(silent).seconds} s"
        return Finding("degraded", f"{many}; `darkroom doctor` names them; restart what does not come back")
    if old := sum(beat.is_too_old for beat, _ in known):
        many = f"{old} of {len(known)} workers are too old for the ledger"
        return Finding("degraded", f"{many}; `darkroom doctor` names them; start the newer version instead")
    return OK


def _check_gate(ledger: Ledger) -> Finding:
    gate = ledger.restore.state()
    return Finding("degraded", gate.complaint) if gate and gate.complaint else OK


def blueprint(asked: Mapping[str, Dependency]) -> Blueprint:
    health = Blueprint("health", __name__)

    @health.get("/livez")
    def livez() -> Response:
        return Response("ok", mimetype="text/plain")

    @health.get("/readyz")
    def readyz() -> Response:
        for dependency in asked.values():
            dependency.ask()
        findings = {name: dependency.finding() for name, dependency in asked.items()}
        statuses = {finding.status for finding in findings.values()}
        status = next((worst for worst in ("unavailable", "degraded") if worst in statuses), "ok")
        response = jsonify(status=status, **{name: asdict(finding) for name, finding in findings.items()})
        if status == "unavailable":
            response.status_code = 503
        return response

    return health
