"""The check of a batch file, as JSON."""

from typing import TYPE_CHECKING, Any

from worker.pricing import as_text
from worker.secrets import redact

if TYPE_CHECKING:
    from tasks.usecases.batch_file import BatchFile, Fault
    from tasks.usecases.batches.check import BatchCheck, ProviderCheck
    from tasks.usecases.batches.estimate import Budget, Estimate


def of_batch_check(file: "BatchFile", check: "BatchCheck", most_errors: int | None = None) -> dict[str, Any]:
    """`most_errors`: the maximum number listed; `more_errors` in the document: how many are left out."""
    errors = check.errors[:most_errors]
    return {
        "file": file.name,
        "format": file.format.value,
        "sheet": file.sheet,
        "sha256": file.sha256,
        "columns": list(file.columns),
        "rows": check.rows,
        "invalid": check.invalid,
        "submissions": check.submissions,
        "cost": _cost(check.estimate) if check.estimate else None,
        "budgets": [_budget(one) for one in check.estimate.budgets] if check.estimate else [],
        "providers": [_provider(one) for one in check.providers],
        "errors": [of_fault(one) for one in errors],
        "more_errors": len(check.errors) - len(errors),
        "warnings": list(map(redact, check.warnings)),
        "more_warnings": check.more_warnings,
    }


def of_fault(fault: "Fault") -> dict[str, Any]:
    return {
        "line": fault.line,
        "column": fault.column,
        "value": fault.value and redact(fault.value),
        "message": redact(fault.message),
        "row": fault.row,
    }


def _cost(estimate: "Estimate") -> dict[str, Any]:
    return {
        "amount": as_text(estimate.amount),
        "follow_ups": as_text(estimate.follow_ups),
        "currency": estimate.prices.currency,
        "providers": {name: as_text(amount) for name, amount in estimate.by_provider.items()},
        "unpriced": estimate.unpriced,
        "assumed": estimate.assumed,
    }


def _budget(budget: "Budget") -> dict[str, Any]:
    standing = budget.standing
    name = standing.key if standing.budget == "provider" else standing.name
    return {
        "budget": standing.budget.value,
        "name": None if standing.budget == "day" else name,
        "cap": as_text(standing.cap),
        "left": as_text(standing.left),
        "needed": as_text(budget.needed),
        "enough": budget.is_enough,
    }


def _provider(one: "ProviderCheck") -> dict[str, Any]:
    return {
        "provider": one.name,
        "submissions": one.submissions,
        "alternative": one.alternative,
        "cannot": [{"message": redact(message), "rows": number} for message, number in one.cannot],
    }
