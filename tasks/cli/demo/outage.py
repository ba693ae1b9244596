"""The demo's outage: a provider's account runs out of credit midway and is topped up."""

import json
import urllib.request

from tasks.cli.demo.beside import Beside
from tasks.cli.ui.output import note
from tasks.cli.ui.wakeup import ring
from tasks.usecases.control import ResumeRequest, resume
from tasks.usecases.queries import ListRequest, list_generations
from worker.errors import DarkroomError
from worker.generation import Generation, State
from worker.services import Services

#: the provider whose account runs out of credit, its key, and how many submissions its credit pays for
PROVIDER, KEY, CREDIT = "kie", "demo-kie", 2
_QUEUED = ListRequest(state=State.QUEUED, provider=PROVIDER)


class Outage(Beside):
    """`KEY` starts with little credit. Tops it up once everything that can move elsewhere has moved or been tried.

    What was tried waits for its own account, as follow-ups do, so it finishes only after the top-up.
    """

    def __init__(self, here: Services, sandbox: str) -> None:
        super().__init__()
        self._here = here
        self._sandbox = sandbox

    def _run(self) -> None:
        try:
            if not self._until(
                lambda: not any(_may_move(one.generation) for one in list_generations(self._here, _QUEUED))
            ):
                return
            give_credit(self._sandbox, {})
            ring(*resume(self._here, ResumeRequest(PROVIDER)).wakes)
        except (DarkroomError, OSError) as error:
            note(f"the credit of {PROVIDER} could not be topped up: {error}")


def give_credit(sandbox: str, credit: dict[str, int]) -> None:
    """Limit the submissions of these keys only."""
    request = urllib.request.Request(f"{sandbox}/sandbox/credit", json.dumps(credit).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310  we started this sandbox ourselves
        pass


def _may_move(one: Generation) -> bool:
    return bool(one.providers) and one.tries == 0
