"""Log lines for state changes, finished groups of a step, and requests to providers.

Each function costs one comparison while its level is off. Facts are bound to the record as `bound`; the formatter of
`worker.secrets` writes them as fields.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


def tells_transitions() -> bool:
    """Return whether to collect transitions until they are committed."""
    return log.isEnabledFor(logging.DEBUG)


def transition(about: Mapping[str, Any]) -> None:
    """Log a committed change of a generation's state: its ids, `from`, `to` and `reason`."""
    _tell(logging.DEBUG, "generation moved", about)


def step(name: str, count: int, began: float, **kinds: int) -> None:
    """Log a finished group of `count` items, with the number of each kind; `began` is a monotonic time."""
    if log.isEnabledFor(logging.INFO):
        of_kinds = {kind: number for kind, number in kinds.items() if number}
        _tell(logging.INFO, "step done", {"step": str(name), "count": count, **of_kinds, "ms": _milliseconds(began)})


def request(
    provider: str, method: str, path: str, began: float, *, status: int | None, error: str | None, is_submission: bool
) -> None:
    """Log a request to a provider: the status of its reply, and one word for an error of the call or the reply.

    Requests that may cost money are logged at INFO, queries at DEBUG. The query string of `path`, which may contain
    keys, is omitted.
    """
    level = logging.INFO if is_submission else logging.DEBUG
    if log.isEnabledFor(level):
        about = {"provider": provider, "method": method, "path": path.partition("?")[0], "status": status}
        known = {name: value for name, value in {**about, "error": error}.items() if value is not None}
        _tell(level, "provider asked", {**known, "ms": _milliseconds(began)})


def _tell(level: int, message: str, bound: Mapping[str, Any]) -> None:
    log.log(level, message, extra={"bound": {name: value for name, value in bound.items() if value is not None}})


def _milliseconds(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
