"""The steps in which the ledger's tables came to their newest form, and who takes them. It needs Alembic."""

from worker.ledger.migrations.runner import check, upgrade

__all__ = ["check", "upgrade"]
