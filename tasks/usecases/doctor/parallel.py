"""Runs all `darkroom doctor` checks concurrently, so that an unresponsive server does not hold up the others."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from tasks.usecases.doctor.finding import Finding, Verdict
from worker.errors import DarkroomError

#: seconds; checks that query servers have their own timeouts, with better messages
_LONG = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """`name`: the default name of its findings; without a name, a failure is not reported.

    `seconds`: how long to wait for its answer; `late`: what it means if there is none.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    seconds: float = _LONG
    late: Verdict = Verdict.FAIL


def run(checks: Sequence[Check], tell: Callable[[Finding], None]) -> tuple[Finding, ...]:
    """Return the findings of all checks in order; `tell` is called with each as soon as it is known."""
    done: SimpleQueue[tuple[int, list[Finding] | BaseException]] = SimpleQueue()
    started = time.monotonic()
    for number, check in enumerate(checks):
        # A thread that waits for a server cannot be ended; a daemon thread does not delay the command's exit.
        threading.Thread(target=_look, args=(number, check, done), name=check.name, daemon=True).start()
    found: dict[int, list[Finding]] = {}
    while missing := [number for number in range(len(checks)) if number not in found]:
        left = started + min(checks[number].seconds for number in missing) - time.monotonic()
        try:
            number, answer = done.get(timeout=max(0.0, left))
        except Empty:
            number = min(missing, key=lambda one: checks[one].seconds)
            answer = [_late(checks[number])]
        if number in found:
            continue
        if isinstance(answer, BaseException):
            raise answer
        found[number] = answer
        for finding in answer:
            tell(finding)
    return tuple(finding for number in sorted(found) for finding in found[number])


def _look(number: int, check: Check, done: "SimpleQueue[tuple[int, list[Finding] | BaseException]]") -> None:
    findings: list[Finding] = []
    try:
        findings.extend(check.look())
    except DarkroomError as error:
        if check.name:
            findings.append(Finding(check.name, Verdict.FAIL, str(error)))
    except BaseException as error:  # noqa: BLE001  raised again in the waiting thread
        done.put((number, error))
        return
    done.put((number, findings))


def _late(check: Check) -> Finding:
    return Finding(check.name or "ledger", check.late, f"no answer within {check.seconds:g} s")
