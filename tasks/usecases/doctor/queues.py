"""Check of `darkroom doctor` on the broker's queues: how many wake-ups are pending, and which no worker takes."""

from collections.abc import Iterator

from tasks.usecases.doctor.finding import Finding, Verdict
from worker.wakeup import waiting


def examine_queues() -> Iterator[Finding]:
    try:
        queues = waiting()
    except Exception as error:  # noqa: BLE001  the finding says what kombu or redis-py said
        yield Finding("queues", Verdict.WARN, f"pending wake-ups unknown: {error}")
        return
    told = ", ".join(f"{queue} {one.messages}" for queue, one in queues.items())
    lengths = {queue: one.messages for queue, one in queues.items()}
    yield Finding("queues", Verdict.OK, f"pending wake-ups: {told}", lengths)
    for queue, one in queues.items():
        if one.unserved:
            kinds = ", ".join(one.unserved)
            message = f"{queue}: no worker takes {kinds}, or all are busy; the work stays in the ledger"
            advice = f"start a worker for this queue (`-Q {queue}`), or more of them"
            yield Finding("queues", Verdict.WARN, f"{message}: {advice}")
