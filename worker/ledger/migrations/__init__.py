"""The migrations of the ledger's tables, and their runner. Requires Alembic."""

from worker.ledger.migrations.runner import check, upgrade

__all__ = ["check", "upgrade"]
