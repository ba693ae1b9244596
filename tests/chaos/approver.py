"""People who decide what recipes ask for, also while the ledger is away; two each time, and one comes second."""

import threading
from collections.abc import Mapping
from contextlib import closing

from tasks.deciding import pick
from worker.errors import LedgerUnavailable
from worker.ledger.approvals import Approval
from worker.services import Services
from worker.settings.settings import Settings

#: seconds between two looks
_PAUSE = 0.5
#: images that the first one picks, and the second one
FIRST, SECOND = (1, 3), (2,)


class Approver(threading.Thread):
    """`env`: of the processes whose ledger it is; `url`: of the ledger, past what comes between. Stops at the end."""

    def __init__(self, env: Mapping[str, str], url: str) -> None:
        super().__init__(daemon=True)
        known = {name.lower(): value for name, value in env.items() if name.lower() in Settings.model_fields}
        self._settings = Settings.model_validate({**known, "database_url": url})
        self._is_over = threading.Event()
        self.error: Exception | None = None

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        with closing(Services(self._settings)) as here:
            while not self._is_over.wait(_PAUSE):
                try:
                    for approval in here.ledger.approvals.pending(100):
                        self._decide(here, approval)
                except LedgerUnavailable:
                    continue
                except Exception as error:
                    self.error = error
                    return

    def _decide(self, here: Services, approval: Approval) -> None:
        pick(here, approval, FIRST, by="ada")
        if pick(here, approval, SECOND, by="bob").is_new:
            raise AssertionError(f"{approval.id} was decided twice")
