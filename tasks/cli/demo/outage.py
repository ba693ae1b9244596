"""The demo's outage: a provider's account runs out of credit in the middle, and is topped up."""

import json
import threading
import urllib.request
from typing import Self

from tasks.cli.ui.output import note
from tasks.cli.ui.wakeup import ring
from tasks.usecases.control import ResumeRequest, resume
from tasks.usecases.queries import ListRequest, list_generations
from worker.errors import DarkroomError
from worker.generation import Generation, State
from worker.services import Services

#: whose account runs out of credit, its key, and how many submissions that pays for
PROVIDER, KEY, CREDIT = "kie", "demo-kie", 2
_QUEUED = ListRequest(state=State.QUEUED, provider=PROVIDER)
_LOOK_AGAIN = 0.3


class Outage:
    """From the start, `KEY` has little credit. Tops it up when everything that may go elsewhere has gone, or was tried.

    What was tried waits for its own account, as follow-ups do, so it is finished only after that.
    """

    def __init__(self, here: Services, sandbox: str) -> None:
        self._here = here
        self._sandbox = sandbox
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
            while any(_may_move(one.generation) for one in list_generations(self._here, _QUEUED)):
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
    return bool(one.providers) and one.tries == 0
