"""The façade for what concerns the ledger as a whole."""

from worker.ledger.generations import Counting
from worker.ledger.maintenance.due_work import DueWork
from worker.ledger.maintenance.heartbeats import Heartbeats
from worker.ledger.maintenance.pruning import Pruning


class Maintenance(DueWork, Heartbeats, Counting, Pruning):
    """The clock's periodic tasks: find due work, record heartbeats, fold counts, prune."""
