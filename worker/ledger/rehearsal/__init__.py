"""Copies of a ledger for rehearsing an upgrade. The original is only read, on a read-only connection."""

from worker.ledger.rehearsal.copies import Copy, Original
from worker.ledger.rehearsal.faults import damage, missing_parts, reason_of
from worker.ledger.rehearsal.originals import open_original

__all__ = ["Copy", "Original", "damage", "missing_parts", "open_original", "reason_of"]
