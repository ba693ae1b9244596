"""GET /livez: is the process alive? GET /readyz: can it do its work, and is a worker there to continue it?"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, Literal, TypeVar

from flask import Blueprint, Response, jsonify

from tasks.usecases.clocks import complaint
from tasks.waiting import SILENCE
from webhook.group_commit import HANGS_AFTER, MOST_HANGING, GroupCommit
from worker.errors import ConfigurationError
from worker.ledger import Ledger
from worker.ledger.database import Clock
from worker.runtime import watchdog
from worker.services import Services

log = logging.getLogger(__name__)

#: seconds for which a check's result is reused, so that probes cannot overload the dependency
KEPT = 2.0
#: seconds that /readyz waits for its dependencies; most probes time out after one
PATIENCE = 0.8

#: seconds between a failed store and a trial store by /readyz
TRY_AGAIN = 5.0

#: a worker silent for this long was removed on purpose, like a replaced container
GONE_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of a dependency; `detail` is a sentence for people, without addresses or secrets."""

    status: Literal["ok", "degraded", "unavailable"]
    detail: str = ""


OK = Finding("ok")
F = TypeVar("F")


class Dependency(Generic[F]):
    """A dependency, checked in its own thread, because no library's time-outs cover every way a server can hang."""

    def __init__(
        self,
        check: Callable[[], F],
        otherwise: F,
        reconnect: Callable[[], None] | None = None,
        *,
        who: str = "/readyz",
        patience: float = PATIENCE,
    ) -> None:
        """`otherwise` is the finding if `check` raises or does not finish in time, which is `patience` seconds.

        `reconnect` is called before the next check after a hung one; `who` names the caller in the log.
        """
        self._check = check
        self._otherwise = otherwise
        self._reconnect = reconnect
        self._who = who
        self._patience = patience
        self._hanging: list[Future[F]] = []
        self._lock = threading.Lock()
        self._asked: Future[F] = Future()
        self._asked.set_result(otherwise)
        self._asked_at = -KEPT

    def ask(self) -> None:
        """Start a check, unless one is running and not hung, or the last result is recent."""
        with self._lock:
            age = time.monotonic() - self._asked_at
            hangs = not self._asked.done()
            if age >= (HANGS_AFTER if hangs else KEPT):
                if hangs:
                    self._leave()
                self._asked = Future()
                self._asked_at = time.monotonic()
                prepare = self._reconnect if hangs else None
                threading.Thread(
                    target=self._answer, args=(self._asked, prepare), name=self._who.strip("/"), daemon=True
                ).start()

    def _leave(self) -> None:
        self._hanging = [*(one for one in self._hanging if not one.done()), self._asked]
        if len(self._hanging) > MOST_HANGING:
            watchdog.end_process(f"{len(self._hanging)} checks of {self._who} are hanging")

    def finding(self) -> F:
        """Return the result of the latest check; waits for it until it has taken too long."""
        try:
            return self._asked.result(timeout=max(0.0, self._asked_at + self._patience - time.monotonic()))
        except TimeoutError:
            return self._otherwise

    def _answer(self, asked: Future[F], prepare: Callable[[], None] | None) -> None:
        finding = self._otherwise
        try:
            if prepare is not None:
                prepare()
            finding = self._check()
        except Exception as error:  # noqa: BLE001  whatever it is, the dependency is not well
            log.warning("not ready for %s: %s", self._who, error)
        asked.set_result(finding)


def dependencies(
    ledger: Ledger, clock: Clock, broker_error: Callable[[], timedelta | None], group: GroupCommit
) -> Mapping[str, Dependency[Finding]]:
    """Return the dependencies by name, for `blueprint`.

    `broker_error` returns how far this machine's clock is ahead of the broker's, and raises if the broker does not
    answer. `group` records whether the latest callback could be stored.

    A clock that is wrong means degraded, but callbacks are still accepted: the ledger stamps them with its own time. A
    ledger that does not answer is closed, so that the next check uses a new connection.
    """
    return {
        "ledger": Dependency(
            partial(_check_ledger, ledger, partial(_can_store, ledger, group)),
            Finding("unavailable", "the ledger does not answer: callbacks get a 503 until it does"),
            ledger.close,
        ),
        "broker": _broker(broker_error, "callbacks are stored and processed later"),
        "workers": Dependency(
            partial(_check_workers, ledger, clock),
            Finding("degraded", "unknown while the ledger does not answer"),
            ledger.close,
        ),
        "submissions": Dependency(
            partial(_check_restore_guard, ledger),
            Finding("degraded", "unknown while the ledger does not answer"),
            ledger.close,
        ),
    }


def api_dependencies(here: Services, broker_error: Callable[[], timedelta | None]) -> Mapping[str, Dependency[Finding]]:
    """Return the dependencies of the HTTP API by name, for `blueprint`."""
    ledger = here.ledger
    return {
        "ledger": Dependency(
            partial(_check_ledger, ledger, lambda: True),
            Finding("unavailable", "the ledger does not answer: requests get a 503 until it does"),
            ledger.close,
        ),
        "broker": _broker(broker_error, "generations are recorded and submitted later"),
    }


def _broker(broker_error: Callable[[], timedelta | None], meanwhile: str) -> Dependency[Finding]:
    def check() -> Finding:
        wrong = complaint("broker", broker_error())
        return Finding("degraded", wrong) if wrong else OK

    return Dependency(check, Finding("degraded", f"the broker does not answer: {meanwhile}"))


def _check_ledger(ledger: Ledger, can_store: Callable[[], bool]) -> Finding:
    try:
        objection = ledger.maintenance.ping()
        if not can_store():
            return Finding("unavailable", "the last callback could not be stored: see the log of the receiver")
    except ConfigurationError as error:
        # The database's message may contain its host.
        log.warning("not ready: %s", error)
        return Finding("unavailable", "the ledger is not usable: run `darkroom db upgrade`, or see the log")
    # Not unavailable: callbacks are still stored.
    wrong = str(objection) if objection else complaint("database", ledger.database.local_error)
    return Finding("degraded", wrong) if wrong else OK


def _can_store(ledger: Ledger, group: GroupCommit) -> bool:
    """A readable ledger may have a full disk: look at the last store, and try one of our own now and then."""
    failed_at = group.failed_at
    if failed_at is None:
        return True
    if time.monotonic() - failed_at < TRY_AGAIN:
        return False
    # Noted first, because the store may hang or raise.
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
    # /readyz is public, so it shows no host names.
    if silent := [quiet for _, quiet in known if quiet > SILENCE]:
        many = f"{len(silent)} of {len(known)} workers are silent, the longest for {max(silent).seconds} s"
        return Finding("degraded", f"{many}; `darkroom doctor` names them; restart those that stay silent")
    if old := sum(beat.is_too_old for beat, _ in known):
        many = f"{old} of {len(known)} workers are too old for the ledger"
        return Finding("degraded", f"{many}; `darkroom doctor` names them; start the newer version instead")
    return OK


def _check_restore_guard(ledger: Ledger) -> Finding:
    guard = ledger.restore.state()
    return Finding("degraded", guard.complaint) if guard and guard.complaint else OK


def blueprint(asked: Mapping[str, Dependency[Finding]]) -> Blueprint:
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
