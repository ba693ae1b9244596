"""`darkroom doctor` check of the broker's queues: how many messages are pending, and which queues no worker reads."""

from collections.abc import Iterator

from tasks.usecases.doctor.finding import Finding, Verdict
from worker.steps import REQUEST_QUEUE
from worker.wakeup import requests_waiting, waiting


def examine_queues() -> Iterator[Finding]:
    try:
        queues, requests = waiting(), requests_waiting()
    except Exception as error:  # noqa: BLE001  the finding quotes kombu or redis-py
        yield Finding("queues", Verdict.WARN, f"pending wake-ups unknown: {error}")
        return
    told = ", ".join(f"{queue} {one.messages}" for queue, one in queues.items())
    lengths = {queue: one.messages for queue, one in queues.items()}
    yield Finding("queues", Verdict.OK, f"pending wake-ups: {told}", lengths)
    for queue, one in queues.items():
        if one.unserved:
            kinds = ", ".join(one.unserved)
            message = f"{queue}: no worker handles {kinds}, or all are busy; the work stays in the ledger"
            advice = f"start a worker for this queue (`-Q {queue}`), or more of them"
            yield Finding("queues", Verdict.WARN, f"{message}: {advice}")
    if requests:
        many = "1 request from another application" if requests == 1 else f"{requests} requests from others"
        message = f"{many} waiting: no worker reads the queue {REQUEST_QUEUE}, or all are busy"
        yield Finding("queues", Verdict.WARN, f"{message}: start a worker for it, as the Procfile's `worker` is")
