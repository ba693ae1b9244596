"""Carries out a request of several transactions once, however often it is sent and whatever crashes meanwhile."""

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
from worker.errors import CommitUnknown, DarkroomError, LedgerUnavailable, SentBefore

log = logging.getLogger(__name__)

#: how long the same request is refused after the process that carries it out dies
LEASE = timedelta(seconds=30)
#: seconds between renewals of the lease; a busy ledger may miss one
RENEWED_EVERY = 10.0
#: reported after an interrupted earlier try, whose effects are unknown
SENT_BEFORE = "this request was sent before, and may have been carried out then"
_ANSWER, _MAY_BE_MORE = "answer", "may_be_more"


@dataclass(frozen=True, slots=True)
class Answered:
    """A JSON document; `is_replayed`: it was made by the same request before.

    `may_be_more`: an earlier try was interrupted, and the document does not include what that may have done.
    """

    document: Mapping[str, Any]
    is_replayed: bool
    may_be_more: bool


def carry_out(
    here: LedgerServices,
    once: Once,
    work: Callable[[datetime], Mapping[str, Any]],
    *,
    is_kept: bool = True,
    passing: Collection[str] = (),
) -> Answered:
    """Call `work` with the time of the first such request, unless its answer is already known.

    `work` may be called again after it died or failed: it must write nothing twice. `is_kept`: the answer is kept for
    the key. Otherwise only one request with this key at a time is carried out, and the next one is new and finds what
    exists already: the key is not bound to a request, so nothing is reported about its earlier use. `passing`: lists of
    the answer that are not kept, because they quote what may be deleted or say what is true only now. A first try that
    is refused frees its key for another request, unless `work` had already written something in this thread. Raises
    KeyInUse while another process carries it out, KeyReused for another request with this key, CommitUnknown if the
    work is done but the ledger cannot record that, and what `work` raises: after an interrupted earlier try, as
    SentBefore or CommitUnknown.
    """
    access = here.ledger.access
    claimed = access.claim_request(once, LEASE)
    if (result := claimed.result) is not None:
        return Answered(json.loads(result[_ANSWER][0]), is_replayed=True, may_be_more=bool(result.get(_MAY_BE_MORE)))
    may_be_more = is_kept and not claimed.is_new
    database = here.ledger.database
    before = database.commits
    try:
        with _renewed(here, once):
            document = work(claimed.begun_at)
    except BaseException as error:
        is_refused = isinstance(error, DarkroomError) and not isinstance(error, LedgerUnavailable)
        with suppress(LedgerUnavailable):
            # If nothing was written, the caller may correct the request and keep the key. A request refused midway,
            # such as when an upgrade began, counts as interrupted: when repeated, it is reported as sent before.
            if not is_kept or (is_refused and claimed.is_new and database.commits == before):
                access.forget_request(once)
            else:
                access.give_up_request(once)
        if may_be_more and isinstance(error, DarkroomError):
            raise (SentBefore if is_refused else CommitUnknown)(f"{SENT_BEFORE}; this time: {error}") from error
        raise
    try:
        if is_kept:
            kept = {name: [] if name in passing else value for name, value in document.items()}
            access.keep_request(once, {_ANSWER: [json.dumps(kept)], _MAY_BE_MORE: ["yes"] if may_be_more else []})
        else:
            access.forget_request(once)
    except LedgerUnavailable as error:
        raise CommitUnknown(f"it is carried out, but its key could not be completed: {error}") from error
    return Answered(document, is_replayed=False, may_be_more=may_be_more)


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
