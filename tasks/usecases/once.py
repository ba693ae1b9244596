"""Requests that are carried out once: those that a program sends with an idempotency key."""

import hashlib
import json
from dataclasses import replace

from tasks.usecases.services import LedgerServices
from worker.ledger.access import Once

__all__ = ["Once", "once_for", "part_of", "replay_of"]


def once_for(owner: str, key: str, asked: object) -> Once:
    """Return an idempotency key.

    `owner`: whose key it is; `asked`: the whole request as JSON, to which the key is bound.
    """
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Once(owner=owner, key=key, request_sha256=hashlib.sha256(canonical.encode()).hexdigest())


def part_of(once: Once, name: str) -> Once:
    """Return the key for one transaction of a request, whose own key is in use meanwhile."""
    return replace(once, key=f"{once.key}/{name}")


def replay_of(here: LedgerServices, once: Once | None) -> tuple[str, ...]:
    """Return the ids of the generations that the same request has made; none if it is still to be carried out.

    Raises KeyReused for another request under the same key, KeyInUse while one is being carried out.
    """
    made = None if once is None else here.ledger.access.result_of(once)
    return tuple(made["generations"]) if made is not None else ()
