"""On a clock, find forgotten work, submissions of dead workers, and links that expire soon."""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from celery.signals import worker_ready

from tasks.restore_marker import keep_watch
from tasks.waiting import Cause, Wait, waits_of
from worker import telemetry
from worker.celery import (
    HEARTBEAT_SECONDS,
    DrainingTask,
    app,
    is_clock,
    left_for_later,
    tell_rarely,
)
from worker.errors import ConfigurationError, LedgerUnavailable, VersionTooOld
from worker.runtime import shutdown, watchdog
from worker.services import Services, services
from worker.steps import Step
from worker.wakeup import drop_stale, ring

log = logging.getLogger(__name__)

#: seconds between passes
PAUSE = 1.0
#: seconds between runs of prune
PRUNE_SECONDS = 3600.0
#: seconds between checks of why something waits
WAITS_SECONDS = 10.0
#: shorter waits are not reported
LONG_WAIT = timedelta(minutes=1)
#: seconds after which a part of a pass counts as hung. Not the whole pass: while the database is locked, each part
#: waits as long as a writer may, and restarting the clock would not help
HANGS_AFTER = 60.0


@app.task(name=Step.SWEEP)
def sweep() -> bool:
    """Wake the steps that have work, and report links that expire soon; two clocks may run this at once.

    Return False if a part failed for any reason but an unavailable ledger.
    """
    here = services()
    is_well = True
    began = time.monotonic()
    did: dict[str, int] = {}
    # One watchdog for all parts: each is a thread, which costs more than most parts do.
    with watchdog.limit("the clock (a pass)", HANGS_AFTER) as goes_on:
        for part in PARTS:
            goes_on()
            try:
                found = part(here)
                if found and isinstance(found, int):
                    did[part.__name__] = found
            except LedgerUnavailable as error:
                # Possibly only some rows are locked: the other parts may succeed.
                log.warning("postponed %s: %s", part.__name__, error)
            except VersionTooOld as error:
                # Leaving work to a newer clock is not a failure; this one still reports its heartbeat.
                tell_rarely(error)
                break
            except ConfigurationError as error:
                log.error("cannot run %s: %s", part.__name__, error)  # noqa: TRY400  a user's mistake needs no traceback
                is_well = False
            except Exception:
                log.exception("%s failed; continuing with the other parts", part.__name__)
                is_well = False
    if did:
        telemetry.step(Step.SWEEP, sum(did.values()), began, **did)
    return is_well


def give_up_lost_submissions(here: Services) -> int:
    return here.ledger.submissions.mark_lost_unconfirmed()


def tell_of_risks(here: Services) -> int:
    return here.ledger.assets.note_risks(here.settings.at_risk)


def remove_abandoned_batches(here: Services) -> None:
    here.ledger.generations.remove_abandoned()


def fold_counts(here: Services) -> None:
    here.ledger.maintenance.fold_counts()
    here.ledger.maintenance.fold_tallies()


def register_subscribers(here: Services) -> None:
    here.ledger.events.register_subscribers([one.name for one in here.settings.subscribers])


def ring_for_what_is_due(here: Services) -> None:
    due = here.ledger.maintenance.due(here.settings.poll_after)
    if not here.settings.darkroom_thumbnails:
        # Thumbnails requested before they were turned off.
        due = [step for step in due if step is not Step.THUMBNAIL]
    if due:
        ring(*due)


class WaitsTold:
    """Logs each wait once when it begins and once when it ends."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._seen: Collection[tuple[Cause, str]] = ()
        self._told: set[tuple[Cause, str]] = set()

    def __call__(self, here: Services) -> None:
        if self._asked_at is not None and time.monotonic() - self._asked_at < WAITS_SECONDS:
            return
        self._asked_at = time.monotonic()
        waits = {wait.name: wait.told for wait in waits_of(here.ledger, here.settings) if not _is_short(wait)}
        for (cause, subject), told in waits.items():
            # Workers that have just started may not have reported yet.
            is_certain = cause is not Cause.WORKERS or (cause, subject) in self._seen
            if is_certain and (cause, subject) not in self._told:
                log.warning("waiting: %s", told)
                self._told.add((cause, subject))
        for name in self._told - waits.keys():
            log.warning("no longer waiting: %s", " ".join(filter(None, name)))
        self._told &= waits.keys()
        self._seen = waits.keys()


def _is_short(wait: Wait) -> bool:
    """Whether to ignore it: providers throttle all the time, batches are mostly at their limit, people take days."""
    is_over_soon = wait.until is not None and wait.since is not None and wait.until - wait.since < LONG_WAIT
    return wait.cause in {Cause.SLOWED, Cause.BATCH_LIMIT, Cause.APPROVAL} or is_over_soon


def tell_of_waits(here: Services) -> None:
    _waits_told(here)


_waits_told = WaitsTold()


#: `keep_watch` is last, because it may wait for a hanging bucket
PARTS: tuple[Callable[[Services], object], ...] = (
    give_up_lost_submissions,
    tell_of_risks,
    remove_abandoned_batches,
    fold_counts,
    register_subscribers,
    ring_for_what_is_due,
    tell_of_waits,
    keep_watch,
)


@worker_ready.connect
def start(sender: Any, **_: Any) -> None:
    """Start the clock in the worker that serves `control`, in its own thread: the main thread works on `quick`."""
    if is_clock(sender):
        # Create them before two threads ask for them, so that both get the same.
        services()
        DrainingTask.shows_life = False
        threading.Thread(target=keep_time, args=(sender.hostname,), name="clock", daemon=True).start()
        # It has no pool: a locked ledger would delay its shutdown.
        shutdown.stop_when_signalled()
    drop_stale()


def keep_time(worker: str) -> None:
    """Make a pass every second until the worker stops, by the monotonic clock; missed passes are not repeated.

    Passes are called directly, not through a queue, so they find work even if the broker is down or a task takes long.
    """
    beat_at = prune_at = time.monotonic()
    has_looked = False
    while not shutdown.is_asked():
        is_beat = time.monotonic() >= beat_at
        if is_beat:
            beat_at = time.monotonic() + HEARTBEAT_SECONDS
        try:
            if is_beat:
                with watchdog.limit("the clock (ping)", HANGS_AFTER):
                    ring(Step.PING)
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_SECONDS
                with watchdog.limit("the clock (prune)", HANGS_AFTER):
                    ring(Step.PRUNE)
            with left_for_later("looking again"):
                if not has_looked:
                    # A setting that blocked downloads may have been changed before this restart.
                    services().ledger.assets.retry_mended()
                    services().ledger.maintenance.forget_predecessors(worker)
                    has_looked = True
            with left_for_later(Step.SWEEP):
                is_well = sweep.run()
                if is_beat and is_well and not shutdown.is_asked():
                    # After the pass, so that a clock whose passes fail or hang is not reported as healthy.
                    with watchdog.limit("the clock (heartbeat)", HANGS_AFTER):
                        here = services()
                        here.ledger.maintenance.beat(worker, os.getpid(), here.limit_settings)
        except Exception:
            log.exception("a pass failed; the next one tries again")
        time.sleep(PAUSE)
