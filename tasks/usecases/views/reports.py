"""Reports on Darkroom, its providers and its bucket, as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from worker.generation import Generation, iso
from worker.pricing import as_text
from worker.secrets import links_hidden, redact, secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.at_risk import CallbackNote, RiskyAsset
    from tasks.usecases.comparing import Compared
    from tasks.usecases.doctor import Diagnosis, Finding
    from tasks.usecases.healthcheck import Health
    from tasks.usecases.ledger_tables import Upgraded
    from tasks.usecases.providers import AccountFacts, ProviderFacts
    from tasks.usecases.prune import Pruned
    from tasks.usecases.rehearsal import Rehearsal
    from tasks.usecases.resolve import Unconfirmed
    from tasks.usecases.restore import Report
    from tasks.usecases.spend import Dimension, Priced, SpendReport, Spent, Standing
    from tasks.usecases.verify import Verification
    from worker.ledger.maintenance import LedgerSize

#: tables that are listed even if nothing is deleted
_PRUNED = ("callbacks", "assets", "events", "deliveries", "heartbeats", "actions")


def of_risky_asset(risky: "RiskyAsset") -> dict[str, Any]:
    asset, owner = risky.asset, risky.owner
    return {
        "generation": owner.id,
        "index": asset.index,
        "provider": owner.provider,
        "prompt": links_hidden(owner.prompt),
        "deadline": iso(asset.deadline),
        "seconds_left": round(risky.left.total_seconds(), 1),
        "tries": asset.tries,
        "renewals": asset.renewals,
        "deadline_proven": risky.is_proven,
        "reason": asset.reason,
        "error": secrets_hidden(asset.error),
        "next_try_at": iso(asset.not_before),
    }


def of_unread_callback(callback: "CallbackNote", owner: Generation) -> dict[str, Any]:
    return {
        "generation": owner.id,
        "index": None,
        "provider": owner.provider,
        "prompt": links_hidden(owner.prompt),
        "task_id": owner.task_id,
        "callback": f"callback:{callback.id}",
        "reason": "unreadable",
        "error": secrets_hidden(callback.error),
    }


def of_unconfirmed(one: "Unconfirmed") -> dict[str, Any]:
    unclear = one.unclear
    generation = unclear.generation
    return {
        "id": generation.id,
        "provider": generation.provider,
        "account": generation.account,
        "operation": generation.operation,
        "action": generation.action,
        "prompt": links_hidden(generation.prompt),
        "key": generation.key,
        "batch_id": generation.batch_id,
        "attempt": unclear.attempt_id,
        "sent_at": iso(unclear.sent_at),
        "seconds": round(one.age.total_seconds(), 1),
        "reason": secrets_hidden(generation.reason),
        "error": secrets_hidden(unclear.error),
        "callbacks": unclear.callbacks,
        "listed": one.listed,
        "asked": unclear.asked if one.is_looked_for else 0,
        "asked_again_at": iso(unclear.asked_again_at) if one.is_looked_for else None,
        "perhaps": unclear.candidates,
        "horizon_at": iso(one.horizon_at),
        "horizon": "after" if one.is_over else "before",
    }


def of_spending(spending: "SpendReport") -> dict[str, Any]:
    return {
        "currency": spending.prices.currency if spending.prices else None,
        "since": spending.first.isoformat(),
        "until": spending.last.isoformat() if spending.last else None,
        "timezone": spending.timezone,
        "by": str(spending.by[0]) if len(spending.by) == 1 else [str(one) for one in spending.by],
        "rows": [{**_of_dimensions(row, spending.by), **_amounts(row)} for row in spending.rows],
        "total": _amounts(spending.total),
        "caps": [_cap(cap) for cap in spending.caps],
        "assumed": [
            {"provider": one.provider, "extras": one.extras, "amount": as_text(one.amount)} for one in spending.assumed
        ],
        "unpriced": [
            {
                "provider": one.provider,
                "operation": one.operation,
                "number": one.number,
                "amount": None if one.amount is None else as_text(one.amount),
            }
            for one in spending.unpriced
        ],
    }


def of_priced(priced: "Priced") -> dict[str, Any]:
    """Return what was charged afterwards."""
    return {"priced": priced.number, "amount": as_text(priced.amount), "currency": priced.prices.currency}


def _of_dimensions(row: "Spent", by: "Sequence[Dimension]") -> dict[str, Any]:
    if len(by) == 1:
        return {"id": row.key, "name": row.name}
    return {str(one): {"id": key, "name": name} for one, key, name in zip(by, row.keys, row.names, strict=True)}


def _amounts(row: "Spent") -> dict[str, str]:
    return {name: as_text(getattr(row, name)) for name in ("known", "possible", "reserved", "total", "late")}


def _cap(cap: "Standing") -> dict[str, Any]:
    amounts = {name: as_text(getattr(cap, name)) for name in ("cap", "used", "left")}
    return {"budget": cap.budget, "id": cap.key, "name": cap.name, **amounts, "waiting": cap.waiting}


def of_verification(verification: "Verification") -> dict[str, Any]:
    document: dict[str, Any] = {
        "checked": verification.checked,
        "missing": list(verification.missing),
        "changed": list(verification.changed),
        "orphaned": verification.orphaned,
        "unread": secrets_hidden(verification.unread),
        "rejected": verification.rejected,
    }
    failed = verification.not_repaired
    if failed is not None:
        document |= {"repaired": [key for key in verification.damaged if key not in failed], "not_repaired": failed}
    return document


def of_reconciliation(report: "Report") -> dict[str, Any]:
    gate, marker = report.gate, report.marker
    return {
        "stopped": report.is_stopped,
        "reason": gate and gate.reason,
        "stopped_at": iso(gate.closed_at) if gate else None,
        "goes_on_by_itself": gate is not None and gate.idle_since is not None,
        "opened": report.opened,
        "opened_at": iso(gate.opened_at) if gate else None,
        "opened_by": gate and gate.opened_by,
        "ledger": gate and gate.ledger,
        "bucket": marker and {"ledger": marker.ledger, "changes": marker.changes, "at": iso(marker.at)},
        "bucket_error": secrets_hidden(report.no_marker),
        "since": iso(report.since),
        "providers": [_compared(one) for one in report.compared],
        "unknown_callbacks": list(report.callbacks),
        "adopted": [{"task_id": task_id, "generation": one} for task_id, one in report.adopted],
        "queued": report.queued,
    }


def _compared(one: "Compared") -> dict[str, Any]:
    return {
        "provider": one.provider,
        "account": one.account,
        "has_list": one.has_list,
        "error": secrets_hidden(one.trouble),
        "tasks": one.tasks,
        "known": one.known,
        "found": [
            {"task_id": found.task_id, "generation": found.generation_id, "state": found.state} for found in one.found
        ],
        "unknown": [
            {"task_id": task.task_id, "sent_by_darkroom": task.is_ours, "perhaps": task.perhaps} for task in one.unknown
        ],
    }


def of_health(health: "Health") -> dict[str, Any]:
    return {"process": str(health.process), "ok": health.is_well, "detail": redact(health.detail)}


def of_diagnosis(diagnosis: "Diagnosis") -> dict[str, Any]:
    return {"ok": diagnosis.is_ok, "checks": [_finding(finding) for finding in diagnosis.findings]}


def _finding(finding: "Finding") -> dict[str, Any]:
    numbers = {"numbers": finding.numbers} if finding.numbers else {}
    return {"check": finding.check, "verdict": finding.verdict, "message": redact(finding.message), **numbers}


def of_provider(row: "ProviderFacts") -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "configured": row.missing is None,
        "missing": row.missing,
        "operations": list(row.capabilities),
        "options": row.options,
        "own_options": row.own_options,
        "by_operation": {
            operation: {name: option.allowed for name, option in capability.options.items()}
            for operation, capability in row.capabilities.items()
        },
        "schemas": {
            operation: {name: option.schema for name, option in capability.options.items()}
            for operation, capability in row.capabilities.items()
        },
        "needs": {operation: sorted(one.needs) for operation, one in row.capabilities.items() if one.needs},
        "versions": {version: sorted(refused) for version, refused in row.versions.items()},
        "prompt": {operation: one.prompt for operation, one in row.capabilities.items()},
        "actions": {operation: one.actions for operation, one in row.capabilities.items() if one.actions},
        "callback": row.callback,
        "retention_days": row.retention_days,
        "prompt_limit": row.prompt_limit,
        "input_limit": row.input_limit,
        "rate": row.rate,
        "in_flight": row.in_flight,
        "accounts": None if row.accounts is None else [_of_account(one) for one in row.accounts],
    }


def _of_account(one: "AccountFacts") -> dict[str, Any]:
    return {
        "account": one.account,
        "status": one.status,
        "rate": one.rate,
        "since": iso(one.since),
        "until": iso(one.until),
        "reason": secrets_hidden(one.reason),
    }


def of_pruned(pruned: "Pruned", *, dry_run: bool) -> dict[str, Any]:
    rows = {name: pruned.rows.get(name, 0) for name in _PRUNED}
    return {"before": pruned.before.isoformat(), "dry_run": dry_run, "rows": rows}


def of_upgraded(upgraded: "Upgraded") -> dict[str, Any]:
    return {"before": upgraded.before, "after": upgraded.after}


def of_rehearsal(rehearsal: "Rehearsal") -> dict[str, Any]:
    migrations = [
        {"revision": one.migration.revision, "title": one.migration.title, "seconds": round(one.seconds, 3)}
        for one in rehearsal.migrations
    ]
    return {
        "ok": rehearsal.is_ok,
        "before": rehearsal.before,
        "after": rehearsal.after,
        "bytes": rehearsal.bytes,
        "bytes_after": rehearsal.bytes_after,
        "copy_seconds": None if rehearsal.copy_seconds is None else round(rehearsal.copy_seconds, 3),
        "migrations": migrations,
        "problems": [redact(one) for one in rehearsal.problems],
    }


def of_ledger_size(size: "LedgerSize") -> dict[str, Any]:
    tables = {one.name: {"rows": one.rows, "bytes": one.bytes} for one in size.tables}
    return {"bytes": size.bytes, "free": size.free, "tables": tables}
