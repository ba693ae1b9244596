"""Writes each request to the ledger exactly once, even if a command is interrupted and repeated."""

from tasks.usecases.submission.note import digest_in
from tasks.usecases.submission.patience import Patience
from tasks.usecases.submission.waits import waits_of_new
from tasks.usecases.submission.write_once import Repetition, begun

__all__ = ["Patience", "Repetition", "begun", "digest_in", "waits_of_new"]
