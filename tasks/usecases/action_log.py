"""The log of actions: what was asked for at the private doors, by whom, and how it was answered."""

import logging
from collections.abc import Sequence

from tasks.usecases.services import LedgerServices
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.ledger.access import Action, NewAction

__all__ = ["Action", "NewAction"]

log = logging.getLogger(__name__)


def begin(here: LedgerServices, new: NewAction) -> str:
    """Write an action down before it is carried out; return its id."""
    return here.ledger.access.record_action(new)


def finish(here: LedgerServices, action_id: str, status: int, subject: str | None) -> None:
    """Note how an action was answered. If the ledger is away, it stays without a status, as if its process had died."""
    try:
        here.ledger.access.record_answer(action_id, status, subject)
    except (LedgerUnavailable, LedgerUnfit) as error:
        log.warning("%s was answered with %s, which could not be noted: %s", action_id, status, error)


def list_actions(here: LedgerServices, actor: str | None, limit: int) -> Sequence[Action]:
    """Return the newest actions, newest first; if `actor` is given, only what they did."""
    return here.ledger.access.actions(actor, limit)
