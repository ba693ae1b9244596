"""The sandbox, where tests are made: whether it is needed, and what callers restricted to tests may change."""

from tasks.shown import shown
from tasks.usecases.names import find_batch, find_generation
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound
from worker.ledger import Ledger
from worker.providers import PROVIDERS


def needs_sandbox(here: LedgerServices) -> bool:
    """Return whether a test is waiting or in progress, or a token may submit one at any moment."""
    ledger = here.ledger
    return ledger.access.has_test_token() or ledger.dispatch.has_open_tests(tuple(PROVIDERS))


def require_test_generation(ledger: Ledger, name: str) -> None:
    """Raise NotFound if the generation of this name is not a test."""
    (generation,) = ledger.generations.get([find_generation(ledger, name)])
    if not generation.is_test:
        raise NotFound(f"there is no test {shown(name)!r}: a token for tests can change only tests")


def require_test_batch(ledger: Ledger, name: str) -> None:
    """Raise NotFound if the batch of this name is not a test batch."""
    if not ledger.generations.batch_facts(find_batch(ledger, name)).is_test:
        raise NotFound(f"there is no batch of tests {shown(name)!r}: a token for tests can change only tests")
