"""The results of a batch as CSV, JSON lines, JSON, XLSX and HTML, and its failing rows."""

from tasks.usecases.batches.results.export import (
    LONGEST_LINKS,
    Exported,
    Output,
    Progress,
    ResultsRequest,
    export_results,
)
from tasks.usecases.batches.results.failing_rows import FORMATS as ERROR_FORMATS
from tasks.usecases.batches.results.tables import Cell, as_cell
from tasks.usecases.batches.results.writers import Format

__all__ = [
    "ERROR_FORMATS",
    "LONGEST_LINKS",
    "Cell",
    "Exported",
    "Format",
    "Output",
    "Progress",
    "ResultsRequest",
    "as_cell",
    "export_results",
]
