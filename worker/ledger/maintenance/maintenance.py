"""The façade for what concerns the ledger as a whole."""

from worker.ledger.generations import Counting
from worker.ledger.maintenance.due_work import DueWork
from worker.ledger.maintenance.pruning import Pruning
from worker.ledger.maintenance.tallies import Receivers, Tallies


class Maintenance(DueWork, Receivers, Counting, Tallies, Pruning):
    """The clock's periodic tasks (find due work, record heartbeats, fold counts, prune), and reports of receivers."""
