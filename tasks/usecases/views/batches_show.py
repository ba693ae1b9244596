"""Batches as JSON: the outcome of a submission, and the progress of batches."""

from typing import TYPE_CHECKING, Any

from worker.generation import State, iso
from worker.pricing import as_text
from worker.secrets import redact

if TYPE_CHECKING:
    from tasks.usecases.batches.show import BatchDetails, ListedBatch
    from tasks.usecases.batches.submit import BatchSubmitted


def of_batch_submitted(submitted: "BatchSubmitted") -> dict[str, Any]:
    return {
        "batch": submitted.batch_id,
        "name": submitted.name,
        "rows": submitted.rows,
        "created": submitted.created,
        "existing": submitted.existing,
        "invalid": submitted.invalid,
        "new_versions": submitted.versions,
        "not_applied": [redact(one) for one in submitted.unapplied],
        "same_file_as": [{"batch": one.id, "name": one.name} for one in submitted.same_file],
        "warnings": [redact(one) for one in submitted.warnings],
        "waits": [redact(one) for one in submitted.waits],
        "dry_run": submitted.is_dry_run,
        "test": submitted.is_test,
    }


def of_listed_batch(batch: "ListedBatch") -> dict[str, Any]:
    facts, money = batch.facts, batch.money
    return {
        "id": facts.id,
        "name": facts.name,
        "test": facts.is_test,
        "state": batch.state,
        "source": facts.source,
        "source_sha256": facts.source_sha256,
        "created_at": iso(facts.created_at),
        "completed_at": iso(facts.completed_at),
        "total": batch.total,
        "done": batch.done,
        "counts": {state: batch.counts.get(state, 0) for state in State},
        "spend": {name: as_text(getattr(money, name)) for name in ("known", "possible", "reserved", "total")},
        "paused_at": iso(facts.paused_at),
        "start_at": iso(facts.start_at),
        "max_cost": None if facts.max_cost is None else as_text(facts.max_cost),
        "max_in_flight": facts.max_in_flight,
    }


def of_batch_details(details: "BatchDetails") -> dict[str, Any]:
    return {
        **of_listed_batch(details.batch),
        "currency": details.prices and details.prices.currency,
        "cap": None if details.cap is None else as_text(details.cap),
        "per_minute": round(details.per_minute, 1),
        "eta_seconds": None if details.left is None else round(details.left.total_seconds()),
        "at_risk": details.at_risk,
        "decisions": details.decisions,
        "failures": [{"state": one.state, "reason": one.reason, "number": one.number} for one in details.failures],
        "waits_for": [
            {"cause": one.cause, "subject": one.subject, "told": redact(one.told), "remedy": one.remedy}
            for one in details.waits
        ],
    }
