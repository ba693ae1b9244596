"""The demo's outage: a provider's account runs out of credit in the middle, and is topped up."""

import json
import threading
import urllib.request
from collections.abc import Sequence
from typing import Self

from tasks.cli.ui.output import note
from tasks.cli.ui.wakeup import ring
from tasks.usecases.control import ResumeRequest, resume
from worker.errors import DarkroomError
from worker.generation import Generation, State
from worker.services import Services

#: whose account runs out of credit, its key, and how many submissions that pays for
PROVIDER, KEY, CREDIT = "kie", "demo-kie", 2
_LOOK_AGAIN = 0.2


class Outage:
    """From the start, `KEY` has little credit. Tops it up when everything that may go elsewhere has gone, or was tried.

    What was tried waits for its own account, as follow-ups do, so it is finished only after that.
    """

    def __init__(self, here: Services, sandbox: str, made: Sequence[Generation]) -> None:
        self._here = here
        self._sandbox = sandbox
        self._ids = [one.id for one in made if one.provider == PROVIDER and one.providers]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="outage", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while any(map(_may_move, self._here.ledger.generations.get(self._ids))):
                if self._ended.wait(_LOOK_AGAIN):
                    return
            give_credit(self._sandbox, {})
            ring(*resume(self._here, ResumeRequest(PROVIDER)).wakes)
        except (DarkroomError, OSError) as error:
            note(f"the credit of {PROVIDER} could not be topped up: {error}")


def give_credit(sandbox: str, credit: dict[str, int]) -> None:
    """Limit the submissions of these keys, and of no other."""
    request = urllib.request.Request(f"{sandbox}/sandbox/credit", json.dumps(credit).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310  the sandbox that we have started ourselves
        pass


def _may_move(one: Generation) -> bool:
    return one.state is State.QUEUED and one.tries == 0 and one.provider == PROVIDER
