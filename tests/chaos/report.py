"""What a run has shown: a table for people, one JSON document for programs."""

from dataclasses import asdict
from typing import Any

from tests.chaos.findings import Findings
from tests.chaos.run import LIMIT, Result, Run

ROWS = {
    "generations": "generations",
    "charges": "charges",
    "paid_twice": "paid twice",
    "lost_generations": "lost generations",
    "lost_assets": "paid for and not in the bucket",
    "unconfirmed": "unconfirmed",
    "unconfirmed_charged": "  of these charged",
    "final": "at their end",
    "seconds_after_last_fault": "seconds after the last fault",
}


def document(wanted: Run, result: Result) -> dict[str, Any]:
    faults = {"faults": sum(result.faults_by_name.values())}
    naive = {"naive": faults | _facts(result.naive, result.naive_seconds)} if result.naive else {}
    return {
        "database": wanted.database,
        "seed": wanted.seed,
        **faults,
        **_facts(result.findings, result.seconds),
        "unconfirmed_because": dict(sorted(result.findings.reasons.items())),
        "seconds": round(result.duration, 1),
        "holds": result.is_good,
        "faults_by_name": dict(sorted(result.faults_by_name.items())),
        "requests_by_fault": dict(sorted(result.requests_by_fault.items())),
        **naive,
    }


def table(wanted: Run, result: Result) -> str:
    facts = document(wanted, result)
    naive = facts.get("naive")
    head = f"{wanted.database}, seed {wanted.seed}: {facts['faults']} faults, {facts['seconds']:.0f} s"
    lines = [head, "", f"{'':<34}{'Darkroom':>10}" + (f"{'naive Celery':>14}" if naive else "")]
    lines += [f"{label:<34}{facts[name]:>10}" + (f"{naive[name]:>14}" if naive else "") for name, label in ROWS.items()]
    for title, counts in (
        ("unconfirmed because of", facts["unconfirmed_because"]),
        ("fault", facts["faults_by_name"]),
        ("requests that met a fault", facts["requests_by_fault"]),
    ):
        if counts:
            lines += ["", f"{title:<46}{'times':>8}", *(f"{name:<46}{times:>8}" for name, times in counts.items())]
    return "\n".join(lines)


def complaints(result: Result) -> list[str]:
    late = f"it took {result.seconds:.0f} s after the last fault, more than {LIMIT}"
    return [*result.findings.complaints, *([late] if result.seconds > LIMIT else []), *result.missed]


def _facts(findings: Findings, seconds: float) -> dict[str, Any]:
    facts = asdict(findings)
    del facts["complaints"], facts["reasons"]
    return {**facts, "seconds_after_last_fault": round(seconds, 1)}
