"""Copies of a ledger on which an upgrade is rehearsed. The original is only read, on a connection that cannot write."""

from worker.ledger.rehearsal.copies import Copy, Original
from worker.ledger.rehearsal.faults import damage, missing_parts, reason_of
from worker.ledger.rehearsal.originals import open_original

__all__ = ["Copy", "Original", "damage", "missing_parts", "open_original", "reason_of"]
