"""What generations cost, and the budgets that limit it: prices of stored rows, charges, spending and remainders."""

from worker.ledger.budget.booking import book, book_sent, is_counted
from worker.ledger.budget.purse import Purse
from worker.ledger.budget.spending import Assumed, Budgets, By, Spent, Standing
from worker.ledger.budget.tiers import TIER, tier_of_row

__all__ = [
    "TIER",
    "Assumed",
    "Budgets",
    "By",
    "Purse",
    "Spent",
    "Standing",
    "book",
    "book_sent",
    "is_counted",
    "tier_of_row",
]
