"""`darkroom doctor` check of whether tests can be made."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from tasks.usecases.doctor.finding import Finding, Verdict
from tasks.usecases.sandbox import needs_sandbox
from worker.embedded import http_answers
from worker.errors import ConfigurationError
from worker.net import PORTS
from worker.services import Services


def examine_sandbox(here: Services) -> Iterator[Finding]:
    """Yield nothing while nobody submits tests."""
    is_needed = needs_sandbox(here)
    try:
        url = here.settings.sandbox_url
    except ConfigurationError as error:
        if is_needed:
            yield Finding("sandbox", Verdict.WARN, str(error))
        return
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    if http_answers(str(parts.hostname), port, "/livez"):
        yield Finding("sandbox", Verdict.OK, f"{url} answers")
    elif is_needed:
        advice = (
            f"start it with `darkroom sandbox --port {port}`, or correct DARKROOM_SANDBOX_URL; until then tests wait"
        )
        yield Finding("sandbox", Verdict.WARN, f"{url} does not answer: {advice}")
