"""Lists in pages, for programs: each page has a bounded cost and is stable while generations are created."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.usecases.queries import ListRequest, batch_of
from tasks.usecases.selection import Selection, is_pattern, matching, pages_like
from tasks.usecases.services import LedgerServices
from worker.errors import RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.providers import PROVIDERS

#: maximum number of generations examined for one page, and read at once
MOST_LOOKED_AT, _AT_ONCE = 10_000, 500


class ListedPage(NamedTuple):
    """`next`: the id after which the next page begins; None at the end of the list.

    A page may have few rows, or none.
    """

    ids: Sequence[str]
    next: str | None


def list_page(here: LedgerServices, request: ListRequest, after: str | None, limit: int) -> ListedPage:
    """Return a page, newest first, after this id. Raises as `list_generations` does."""
    if request.provider is not None and request.provider not in PROVIDERS:
        raise RequestInvalid(f"unknown provider {request.provider!r}; expected one of {', '.join(PROVIDERS)}")
    batch = batch_of(here.ledger, request)
    if request.key is not None and not is_pattern(request.key):
        family = pages_like(here.ledger, request.key, state=request.state, batch=batch, labels=request.labels)
        newest = sorted(_fitting(here.ledger, [one for page in family for one in page], request), reverse=True)
        return _cut([one for one in newest if after is None or one < after], limit)
    found: list[str] = []
    looked_at = 0
    size = limit + 1 if request.is_counted else _AT_ONCE
    while True:
        page = here.ledger.generations.page(
            state=request.state, batch=batch, labels=request.labels, limit=size, before=after
        )
        found += _fitting(here.ledger, page, request)
        looked_at += len(page)
        if len(found) > limit or len(page) < size:
            return _cut(found, limit)
        after = page[-1].id
        if looked_at >= MOST_LOOKED_AT:
            return ListedPage(found, after)


def _cut(found: Sequence[str], limit: int) -> ListedPage:
    return ListedPage(found[:limit], found[limit - 1] if len(found) > limit else None)


def _fitting(ledger: Ledger, page: Sequence[Generation], request: ListRequest) -> list[str]:
    words = (request.search or "").casefold()
    wanted = Selection(provider=request.provider, key=request.key, everything=True)
    return [one.id for one in matching(ledger, page, wanted) if words in one.prompt.casefold()]
