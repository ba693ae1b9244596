"""`darkroom doctor` findings where `darkroom up` or a demo was running and has stopped."""

import os

from tasks.usecases.doctor.finding import Finding, Verdict
from worker.embedded import is_stopped
from worker.settings import Settings


def examine_stopped(settings: Settings) -> tuple[Finding, ...]:
    """Return the findings that replace those about a missing broker and bucket; none if these are not embedded."""
    data = settings.darkroom_data.absolute()
    if not is_stopped(os.environ, data):
        return ()
    broker = f"stopped, like everything that ran in {data}: start `darkroom up`"
    if settings.s3_bucket is not None:
        return (Finding("broker", Verdict.FAIL, broker),)
    return (
        Finding("broker", Verdict.FAIL, broker),
        Finding("bucket", Verdict.FAIL, f"stopped; its files are in {data / 's3'}"),
    )
