"""Writes each request to the ledger exactly once, even if a command is interrupted and repeated."""

from tasks.usecases.submission.note import digest_in
from tasks.usecases.submission.write_once import Repetition, begun

__all__ = ["Repetition", "begun", "digest_in"]
