"""Every write is written down before it is carried out, with the name of its token, and logged with its answer."""

import logging
from collections.abc import Mapping
from typing import Any

from tasks.usecases import action_log
from tasks.usecases.action_log import NewAction
from webhook.api.call import Call
from webhook.api.routes import Operation
from worker.secrets import redact

log = logging.getLogger(__name__)

#: characters of a subject; ids have about 40
_LONGEST = 200


class Written:
    """One write; making it writes it down. `subject`: the id of what it is about, if that exists already.

    Raises LedgerUnavailable, and then nothing may be carried out.
    """

    def __init__(self, call: Call, operation: Operation, subject: str | None) -> None:
        self._here = call.here
        # As it was called: a part of a path may be anything.
        self._subject = subject = subject and redact(subject)[:_LONGEST]
        self._new = NewAction(
            door="api",
            actor=call.caller.name,
            action=f"{operation.method} {operation.path}",
            subject=subject,
            request_id=call.request_id,
        )
        self._id = action_log.begin(call.here, self._new)

    def made(self, document: Mapping[str, Any]) -> None:
        """Note the id of what was made."""
        found = document.get("id")
        if self._subject is None and isinstance(found, str):
            self._subject = found

    def answered(self, status: int) -> None:
        action_log.finish(self._here, self._id, status, self._subject)
        new = self._new
        log.info("%s by %s: %s, %s, request %s", new.action, new.actor, status, self._subject, new.request_id)
