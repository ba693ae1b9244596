"""The migrations of the ledger's tables, and their runner. Requires Alembic."""

from worker.ledger.migrations.runner import Migration, check, create, missing, upgrade

__all__ = ["Migration", "check", "create", "missing", "upgrade"]
