"""What generations cost, and the budgets that limit that: prices of stored rows, charges, spending and remainders."""

from worker.ledger.budget.booking import book, book_sent, is_counted
from worker.ledger.budget.holding import Asked
from worker.ledger.budget.purse import Purse
from worker.ledger.budget.spending import MOST_DIMENSIONS, Assumed, Budgets, By, Dimension, Spent, Standing, UsedOfCaps
from worker.ledger.budget.tiers import TIER, tier_of_row
from worker.ledger.budget.unpriced import Unpriced
from worker.ledger.schema import AnyBudgetKey, BudgetKind, LabelKey

__all__ = [
    "MOST_DIMENSIONS",
    "TIER",
    "AnyBudgetKey",
    "Asked",
    "Assumed",
    "BudgetKind",
    "Budgets",
    "By",
    "Dimension",
    "LabelKey",
    "Purse",
    "Spent",
    "Standing",
    "Unpriced",
    "UsedOfCaps",
    "book",
    "book_sent",
    "is_counted",
    "tier_of_row",
]
