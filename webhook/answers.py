"""What a receiver has answered, and how fast: noted by its requests, told to the ledger by a thread of its own."""

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

#: seconds between two heartbeats, as of workers
PAUSE = 10.0
#: answers that are not added up yet, at the most: they take 100 bytes each
_MOST_NOTED = 5000


class Answers:
    """Answers to callbacks. `many` is set when some should be added up soon."""

    def __init__(self) -> None:
        self._noted: deque[tuple[int, float]] = deque()
        self._numbers = Counter[TallyKey]()
        self.many = threading.Event()

    def note(self, status: int, seconds: float) -> None:
        """Called by each request: one step of the interpreter, which loses nothing and needs no lock."""
        self._noted.append((status, seconds))
        if len(self._noted) >= _MOST_NOTED:
            self.many.set()

    def add_up(self) -> Counter[TallyKey]:
        """Return the numbers since the last `told`. One thread may call these two."""
        numbers = self._numbers
        while self._noted:
            status, seconds = self._noted.popleft()
            numbers[TallyKey(Tally.ANSWERS, "", str(status))] += 1
            if status == 200:
                numbers[TallyKey(Tally.ACKNOWLEDGED, "", bound_of(ACKNOWLEDGED_BOUNDS, seconds))] += 1
                numbers[TallyKey(Tally.ACKNOWLEDGED_MICROSECONDS, "", "")] += round(seconds * 1_000_000)
        return numbers

    def told(self) -> None:
        """The ledger has the numbers that `add_up` has returned last."""
        self._numbers = Counter()


class Heartbeat(threading.Thread):
    """Reports this receiver to the ledger every ten seconds, with what it has answered since."""

    def __init__(self, ledger: Ledger, answers: Answers) -> None:
        # A daemon: it must not keep a process that is to end.
        super().__init__(name="heartbeat", daemon=True)
        self._ledger = ledger
        self._answers = answers
        self._me = f"{RECEIVER}.{os.getpid()}@{socket.gethostname()}"
        self._telling = threading.Lock()

    def start(self) -> None:
        # Not by atexit, which processes of `multiprocessing` leave out.
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
            log.warning("the heartbeats of receivers before this one are kept: %s", error)

    def tell(self, pid: int) -> None:
        """Report it once; what the ledger does not take now is in the next report."""
        with self._telling:
            numbers = self._answers.add_up()
            try:
                self._ledger.maintenance.report(self._me, pid, numbers)
            except CommitUnknown as error:
                # Better to count too few than some of them twice.
                log.warning("a heartbeat may be lost: %s", error)
            except DarkroomError as error:
                log.warning("no heartbeat, and the next one counts the more: %s", error)
                return
            except Exception:
                log.exception("no heartbeat, and the next one counts the more")
                return
            self._answers.told()
