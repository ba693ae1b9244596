"""The ledger as a whole: due work, heartbeats, pruning, sizes, and corrections of future times."""

from worker.ledger.maintenance.heartbeats import STOPPED, Heartbeat
from worker.ledger.maintenance.maintenance import Maintenance
from worker.ledger.maintenance.pruning import Bite
from worker.ledger.maintenance.sizes import LedgerSize, TableSize, ledger_bytes, ledger_size

__all__ = ["STOPPED", "Bite", "Heartbeat", "LedgerSize", "Maintenance", "TableSize", "ledger_bytes", "ledger_size"]
