"""The same questions, asked of a program that keeps no ledger: its bill and its objects are all the witnesses."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.chaos.audit import served_to, wrong_bytes
from tests.chaos.findings import Findings
from tests.chaos.naive import app, name_of, object_key


def audit(
    wishes: Collection[str], bill: Mapping[str, Any], downloads: Iterable[Mapping[str, Any]], bucket: Path
) -> Findings:
    """What the provider has failed and refunded is at its end; what it was never asked for is lost."""
    lines: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in bill["lines"]:
        lines[name_of(line["callback_url"])].append(line)
    served = served_to(downloads)
    paid = {name: [line for line in lines[name] if not line["refunded"]] for name in wishes}
    missing = [
        f"{name} was paid for: it {wrong}"
        for name in wishes
        if paid[name]
        and (
            wrong := wrong_bytes(
                bucket, object_key(name), None, set().union(*(served[one["task_id"]] for one in paid[name]))
            )
        )
    ]
    lost = [f"{name} was never submitted" for name in wishes if not lines[name]]
    twice = [f"{name} was paid {len(paid[name])} times" for name in wishes if len(paid[name]) > 1]
    return Findings(
        generations=len(wishes),
        charges=sum(map(len, paid.values())),
        paid_twice=len(twice),
        lost_generations=len(lost),
        lost_assets=len(missing),
        unconfirmed=0,
        unconfirmed_charged=0,
        final=len(wishes) - len(lost) - len(missing),
        complaints=(*twice, *lost, *missing),
    )


def is_quiet(broker: str) -> bool:
    """Whether no task waits or runs: not in the queue, and not with the worker, which keeps repetitions in memory."""
    with redis.Redis.from_url(broker, socket_timeout=2) as client:
        if client.llen("celery") or client.hlen("unacked"):
            return False
    worker = app.control.inspect(timeout=2)
    kept = [worker.scheduled(), worker.active(), worker.reserved()]
    return all(kept) and not any(tasks for answer in kept for tasks in answer.values())
