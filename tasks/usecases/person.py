"""The person who makes a decision, for the record."""

from worker.ledger import Person

__all__ = ["Person", "person"]


def person(name: str, why: str = "") -> Person:
    """Return the person; `why` is their reason, reduced to one line."""
    return Person(name, " ".join(why.split()))
