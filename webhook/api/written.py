"""The log of writes: each is recorded before it is carried out, with its token's name, and its answer afterwards."""

from flask import Response

from tasks.usecases import action_log
from tasks.usecases.action_log import NewAction
from webhook.api.call import Call
from webhook.api.routes import Operation
from worker.secrets import redact

#: characters of a subject; ids have about 40
_LONGEST = 200


class Written:
    """One write; constructing it records it. `subject`: the id of the object concerned, if that exists already.

    Raises LedgerUnavailable, and then nothing may be carried out.
    """

    def __init__(self, call: Call, operation: Operation, subject: str | None) -> None:
        self._here = call.here
        # As the caller wrote it: a path segment may contain anything.
        self._subject = subject and redact(subject)[:_LONGEST]
        self._id = action_log.begin(
            call.here,
            NewAction(
                door="api",
                actor=call.caller.name,
                action=f"{operation.method} {operation.path}",
                subject=self._subject,
                request_id=call.request_id,
            ),
        )

    def answered(self, response: Response) -> None:
        """Record the status, and the id of what was created, which `Location` ends with."""
        made = response.headers.get("Location", "").rpartition("/")[2]
        action_log.finish(self._here, self._id, response.status_code, self._subject or made or None)
