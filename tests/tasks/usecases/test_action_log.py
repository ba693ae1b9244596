"""What was carried out is answered, even if nobody can note any more how."""

import logging
from contextlib import closing
from pathlib import Path

import pytest

from tasks.usecases import action_log
from tasks.usecases.services import LedgerAlone
from worker.errors import LedgerUnfit
from worker.ledger import Ledger
from worker.settings.settings import Settings


def test_an_answer_that_cannot_be_noted_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(LedgerAlone(Settings(database_url=f"sqlite:///{tmp_path / 'gone.sqlite3'}"))) as here:
        here.__dict__["ledger"] = Ledger(here.settings.ledger_url)
        with caplog.at_level(logging.WARNING):
            action_log.finish(here, "action_1", 201, "gen_1")
        assert caplog.messages[0].startswith("action_1 was answered with 201, which could not be noted: ")
        # But nothing is carried out that could not be written down.
        with pytest.raises(LedgerUnfit):
            action_log.begin(here, action_log.NewAction(door="api", actor="studio", action="POST /v1/generations"))
