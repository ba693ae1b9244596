"""Carries out a request of several transactions once, however often it is sent, and whatever dies meanwhile."""

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any

from tasks.usecases.once import Once
from tasks.usecases.services import LedgerServices
from worker.errors import CommitUnknown, DarkroomError, LedgerUnavailable

log = logging.getLogger(__name__)

#: after the death of whoever carries it out, the same request is refused for so long
LEASE = timedelta(seconds=30)
#: seconds between two renewals; a ledger that is busy may miss one
RENEWED_EVERY = 10.0
_ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Answered:
    """A JSON document; `is_replayed`: it was made by the same request before."""

    document: Mapping[str, Any]
    is_replayed: bool


def carry_out(
    here: LedgerServices,
    once: Once,
    work: Callable[[datetime], Mapping[str, Any]],
    *,
    is_kept: bool = True,
    passing: Collection[str] = (),
) -> Answered:
    """Call `work` with the time of the first such request, unless its answer is known.

    `work` may be called again after it died or failed: it must write nothing twice. `is_kept`: the answer is kept for
    the key; otherwise only one at a time carries it out, and the next request with this key is a new one, which finds
    what is there already. `passing`: lists of the answer that are not kept: they quote what may be deleted, or say
    what holds only now. Raises KeyInUse while another process carries it out, KeyReused for another request with this
    key, CommitUnknown if it is done but the ledger cannot keep that, and what `work` raises.
    """
    access = here.ledger.access
    now = here.clock()
    if (result := access.claim_request(once, LEASE)) is not None:
        return Answered(json.loads(result[_ANSWER][0]), is_replayed=True)
    is_new = False
    try:
        with _renewed(here, once):
            begun_at = access.begun_at(once)
            is_new = begun_at >= now
            document = work(begun_at)
    except BaseException as error:
        # Refused, nothing was written, so the caller may correct the request and keep the key.
        is_refused = isinstance(error, DarkroomError) and not isinstance(error, LedgerUnavailable)
        with suppress(LedgerUnavailable):
            if not is_kept or (is_refused and is_new):
                access.forget_request(once)
            else:
                access.give_up_request(once)
        raise
    try:
        if is_kept:
            kept = {name: [] if name in passing else value for name, value in document.items()}
            access.keep_request(once, {_ANSWER: [json.dumps(kept)]})
        else:
            access.forget_request(once)
    except LedgerUnavailable as error:
        raise CommitUnknown(f"it is carried out, but its key could not be completed: {error}") from error
    return Answered(document, is_replayed=False)


@contextmanager
def _renewed(here: LedgerServices, once: Once) -> Iterator[None]:
    is_over = Event()

    def renew() -> None:
        while not is_over.wait(RENEWED_EVERY):
            try:
                here.ledger.access.renew_request(once, LEASE)
            except LedgerUnavailable as error:
                log.warning("could not renew the lease of a request: %s", error)

    thread = Thread(target=renew, name="renew-request", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
