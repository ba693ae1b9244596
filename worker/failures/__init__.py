"""Why generations come to nothing, in categories that people and programs can act on."""

from worker.failures.categories import REMEDIES, Category, category_of, is_known

__all__ = ["REMEDIES", "Category", "category_of", "is_known"]
