"""The ledger: the database of record. Its methods are verbs and return frozen values; each is one transaction.

A method returns after its commit. Wake-ups are sent afterwards, never before.
"""

from worker.ledger.access import Access
from worker.ledger.approvals import Approvals
from worker.ledger.assets import Assets
from worker.ledger.batches import Batches
from worker.ledger.budget import Budgets
from worker.ledger.changes import Person
from worker.ledger.database import Clock, Database
from worker.ledger.dispatch import Dispatch
from worker.ledger.events import Events
from worker.ledger.generations import Generations
from worker.ledger.inputs import Inputs
from worker.ledger.maintenance import Maintenance
from worker.ledger.marks import Marks
from worker.ledger.outcome import Callbacks
from worker.ledger.restore_guard import RestoreGuard
from worker.ledger.submission import Submissions

__all__ = ["Ledger", "Person"]


class Ledger:
    """One façade per subject, whose parts are in the room of that name."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self.database = Database(url, clock)
        self.access = Access(self.database)
        self.dispatch = Dispatch(self.database)
        self.submissions = Submissions(self.database)
        self.callbacks = Callbacks(self.database)
        self.generations = Generations(self.database)
        self.approvals = Approvals(self.database)
        self.marks = Marks(self.database)
        self.batches = Batches(self.database)
        self.assets = Assets(self.database)
        self.inputs = Inputs(self.database)
        self.events = Events(self.database)
        self.maintenance = Maintenance(self.database)
        self.budgets = Budgets(self.database)
        self.restore = RestoreGuard(self.database)

    def close(self) -> None:
        self.database.close()
