"""Who decides, for the record."""

from worker.ledger import Person

__all__ = ["Person", "person"]


def person(name: str, why: str = "") -> Person:
    """`why` in their own words, as one line."""
    return Person(name, " ".join(why.split()))
