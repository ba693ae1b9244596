"""Results of use cases as JSON documents: the same names and the same redaction at every front door.

Result types are imported only for type checks, so that showing one result does not load every use case.
"""

from tasks.usecases.views.access import of_action, of_created_token, of_token, of_user
from tasks.usecases.views.approvals import of_approval, of_approved, of_pending_approval
from tasks.usecases.views.batches_check import of_batch_check, of_fault
from tasks.usecases.views.batches_move import of_moved_batch
from tasks.usecases.views.batches_results import of_download
from tasks.usecases.views.batches_retry import of_batch_retried
from tasks.usecases.views.batches_show import of_batch_details, of_batch_submitted, of_listed_batch
from tasks.usecases.views.batches_steer import of_steered
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
from tasks.usecases.views.events import of_answer, of_event, of_resent
from tasks.usecases.views.generations import (
    of_details,
    of_generation,
    of_listed,
    of_move,
    of_seen,
    of_story,
    of_submitted,
    with_results,
)
from tasks.usecases.views.inputs import of_uploaded
from tasks.usecases.views.recipes import of_drawing, of_recipe, of_recipe_file
from tasks.usecases.views.reports import (
    of_diagnosis,
    of_health,
    of_ledger_size,
    of_priced,
    of_provider,
    of_pruned,
    of_reconciliation,
    of_rehearsal,
    of_risky_asset,
    of_spending,
    of_unconfirmed,
    of_unread_callback,
    of_upgraded,
    of_verification,
)
from tasks.usecases.views.subscribers import (
    of_added_subscriber,
    of_shown_subscriber,
    of_subscriber,
    of_tested_subscriber,
)

__all__ = [
    "of_action",
    "of_added_subscriber",
    "of_answer",
    "of_approval",
    "of_approved",
    "of_batch_check",
    "of_batch_details",
    "of_batch_retried",
    "of_batch_submitted",
    "of_created_token",
    "of_decided",
    "of_deleted",
    "of_details",
    "of_diagnosis",
    "of_dismissed",
    "of_download",
    "of_drawing",
    "of_event",
    "of_fault",
    "of_found_task",
    "of_generation",
    "of_health",
    "of_ledger_size",
    "of_letter",
    "of_listed",
    "of_listed_batch",
    "of_move",
    "of_moved_batch",
    "of_none_refused",
    "of_pending_approval",
    "of_priced",
    "of_provider",
    "of_pruned",
    "of_recipe",
    "of_recipe_file",
    "of_reconciliation",
    "of_refused",
    "of_rehearsal",
    "of_replayed",
    "of_resent",
    "of_resolved",
    "of_resumed",
    "of_risky_asset",
    "of_seen",
    "of_shown_subscriber",
    "of_spending",
    "of_steered",
    "of_story",
    "of_submitted",
    "of_subscriber",
    "of_tested_subscriber",
    "of_token",
    "of_unconfirmed",
    "of_unread_callback",
    "of_upgraded",
    "of_uploaded",
    "of_user",
    "of_verification",
    "with_results",
]
