"""Approvals that wait, on either kind of database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.asking import a_recipe, asked
from worker.ledger import Ledger
from worker.ledger.approvals import Approval

Ask = Callable[..., Approval]


@pytest.fixture
def ask(ledger: Ledger, tmp_path: Path) -> Ask:
    def ask(otherwise: str = "none", **facts: Any) -> Approval:
        return asked(ledger, a_recipe(tmp_path, otherwise=otherwise), **facts)[0]

    return ask
