"""The log of actions: what was requested at the private doors, by whom, and with what result."""

import logging
from collections.abc import Sequence

from tasks.usecases.services import LedgerServices
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.ledger.access import Action, NewAction

__all__ = ["Action", "NewAction"]

log = logging.getLogger(__name__)


def begin(here: LedgerServices, new: NewAction) -> str:
    """Record an action before it is carried out; return its id."""
    return here.ledger.access.record_action(new)


def finish(here: LedgerServices, action_id: str, status: int, subject: str | None) -> None:
    """Record an action's result. If the ledger is unreachable, the action stays without a status, as after a crash."""
    try:
        here.ledger.access.record_answer(action_id, status, subject)
    except (LedgerUnavailable, LedgerUnfit) as error:
        log.warning("%s was answered with %s, which could not be noted: %s", action_id, status, error)


def list_actions(here: LedgerServices, actor: str | None, limit: int) -> Sequence[Action]:
    """Return the newest actions, newest first; if `actor` is given, only theirs."""
    return here.ledger.access.actions(actor, limit)
