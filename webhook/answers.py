"""What a receiver answered, and how fast: noted by its requests, reported to the ledger by a dedicated thread."""

import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from multiprocessing.util import Finalize

from worker.errors import CommitUnknown, DarkroomError
from worker.ledger import Ledger
from worker.ledger.maintenance import ACKNOWLEDGED_BOUNDS, RECEIVER, STOPPED, Tally, TallyKey, bound_of

log = logging.getLogger(__name__)

#: seconds between heartbeats, as for workers
PAUSE = 10.0
#: the maximum number of answers not yet added up; each takes 100 bytes
_MOST_NOTED = 5000


class Answers:
    """Answers to callbacks. `many` is set when they should be added up soon."""

    def __init__(self) -> None:
        self._noted: deque[tuple[int, float]] = deque()
        self._numbers = Counter[TallyKey]()
        self.many = threading.Event()

    def note(self, status: int, seconds: float) -> None:
        """Note one answer; each request calls this. It is atomic in the interpreter, so it needs no lock."""
        self._noted.append((status, seconds))
        if len(self._noted) >= _MOST_NOTED:
            self.many.set()

    def add_up(self) -> Counter[TallyKey]:
        """Return the counts since the last `told`. Only one thread may call these two methods."""
        numbers = self._numbers
        while self._noted:
            status, seconds = self._noted.popleft()
            numbers[TallyKey(Tally.ANSWERS, "", str(status))] += 1
            if status == 200:
                numbers[TallyKey(Tally.ACKNOWLEDGED, "", bound_of(ACKNOWLEDGED_BOUNDS, seconds))] += 1
                numbers[TallyKey(Tally.ACKNOWLEDGED_MICROSECONDS, "", "")] += round(seconds * 1_000_000)
        return numbers

    def told(self) -> None:
        """Note that the ledger has the counts that `add_up` returned last."""
        self._numbers = Counter()


class Heartbeat(threading.Thread):
    """Reports this receiver to the ledger every ten seconds, with its answers since the last report."""

    def __init__(self, ledger: Ledger, answers: Answers) -> None:
        # A daemon: it must not keep the process alive at shutdown.
        super().__init__(name="heartbeat", daemon=True)
        self._ledger = ledger
        self._answers = answers
        self._me = f"{RECEIVER}.{os.getpid()}@{socket.gethostname()}"
        self._telling = threading.Lock()

    def start(self) -> None:
        # Not atexit, which `multiprocessing` processes skip.
        Finalize(None, self.tell, args=(STOPPED,), exitpriority=1)
        super().start()

    def run(self) -> None:
        self._forget_predecessors()
        while True:
            self.tell(os.getpid())
            end = time.monotonic() + PAUSE
            while (left := end - time.monotonic()) > 0:
                if self._answers.many.wait(left):
                    self._answers.many.clear()
                    with self._telling:
                        self._answers.add_up()

    def _forget_predecessors(self) -> None:
        try:
            self._ledger.maintenance.forget_predecessors(self._me)
        except DarkroomError as error:
            log.warning("could not remove the heartbeats of earlier receivers: %s", error)

    def tell(self, pid: int) -> None:
        """Report once; whatever the ledger does not accept now is part of the next report."""
        with self._telling:
            numbers = self._answers.add_up()
            try:
                self._ledger.maintenance.report(self._me, pid, numbers)
            except CommitUnknown as error:
                # Undercounting is better than counting some twice.
                log.warning("a heartbeat may be lost: %s", error)
            except DarkroomError as error:
                log.warning("could not record a heartbeat; the next one includes its counts: %s", error)
                return
            except Exception:
                log.exception("could not record a heartbeat; the next one includes its counts")
                return
            self._answers.told()
