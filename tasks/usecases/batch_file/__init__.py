"""Batch files: CSV, XLSX, JSON lines, a JSON array or plain text, read row by row, with templates that expand."""

from tasks.usecases.batch_file.batch_file import (
    EXPAND_LIMIT,
    MAX_SUBMISSIONS,
    BatchFile,
    Counted,
    open_batch_file,
    read_entries,
)
from tasks.usecases.batch_file.columns import misspelt
from tasks.usecases.batch_file.entries import CHOICE, expand_entry
from tasks.usecases.batch_file.fault import Fault
from tasks.usecases.batch_file.formats import MEDIA_TYPES
from tasks.usecases.batch_file.odd_prompts import oddities_of

__all__ = [
    "CHOICE",
    "EXPAND_LIMIT",
    "MAX_SUBMISSIONS",
    "MEDIA_TYPES",
    "BatchFile",
    "Counted",
    "Fault",
    "expand_entry",
    "misspelt",
    "oddities_of",
    "open_batch_file",
    "read_entries",
]
