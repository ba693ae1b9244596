"""Results of use cases as JSON documents: the same names and the same redaction at every front door.

A document has the type of a result, which is imported only for type checks: showing one result does not load the
use cases of all.
"""

from tasks.usecases.views.batches_retry import of_batch_retried
from tasks.usecases.views.decisions import (
    of_decided,
    of_deleted,
    of_dismissed,
    of_found_task,
    of_letter,
    of_none_refused,
    of_refused,
    of_replayed,
    of_resolved,
    of_resumed,
)
from tasks.usecases.views.generations import (
    of_details,
    of_generation,
    of_listed,
    of_move,
    of_story,
    of_submitted,
    with_results,
)
from tasks.usecases.views.reports import (
    of_diagnosis,
    of_ledger_size,
    of_priced,
    of_provider,
    of_pruned,
    of_reconciliation,
    of_risky_asset,
    of_spending,
    of_unconfirmed,
    of_unread_callback,
    of_upgraded,
    of_verification,
)

__all__ = [
    "of_batch_retried",
    "of_decided",
    "of_deleted",
    "of_details",
    "of_diagnosis",
    "of_dismissed",
    "of_found_task",
    "of_generation",
    "of_ledger_size",
    "of_letter",
    "of_listed",
    "of_move",
    "of_none_refused",
    "of_priced",
    "of_provider",
    "of_pruned",
    "of_reconciliation",
    "of_refused",
    "of_replayed",
    "of_resolved",
    "of_resumed",
    "of_risky_asset",
    "of_spending",
    "of_story",
    "of_submitted",
    "of_unconfirmed",
    "of_unread_callback",
    "of_upgraded",
    "of_verification",
    "with_results",
]
