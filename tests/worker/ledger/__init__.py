import pytest

# So that a promise that was not kept says what was found instead.
pytest.register_assert_rewrite("tests.worker.ledger.holding", "tests.worker.ledger.world")
