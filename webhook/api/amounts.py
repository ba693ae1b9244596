"""Amounts of money in requests."""

from decimal import Decimal

from worker import pricing


def millionths(amount: Decimal | None) -> int | None:
    """Return it rounded down; None for none."""
    return None if amount is None else pricing.millionths(amount)
