"""Prices and budgets."""

from worker.pricing.budget_days import first_day, read_zone
from worker.pricing.prices import (
    ANY_VALUE,
    MILLION,
    Prices,
    Quote,
    Tier,
    as_text,
    millionths,
    read_amount,
    tier_of,
)
from worker.pricing.surcharges import SPEEDS, TEXTS, extras_of, extras_of_options, highest_known, read_version

__all__ = [
    "ANY_VALUE",
    "MILLION",
    "SPEEDS",
    "TEXTS",
    "Prices",
    "Quote",
    "Tier",
    "as_text",
    "extras_of",
    "extras_of_options",
    "first_day",
    "highest_known",
    "millionths",
    "read_amount",
    "read_version",
    "read_zone",
    "tier_of",
]
