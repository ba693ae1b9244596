"""The log of writes: each is recorded before it is carried out, with the person's name, and its answer afterwards."""

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from flask import Response, current_app, g, request

from tasks.usecases import action_log
from tasks.usecases.action_log import NewAction
from worker.secrets import redact
from worker.services import Services

_View = TypeVar("_View", bound=Callable[..., object])

#: characters of a subject; ids have about 40
_LONGEST = 200
_ID = re.compile(r"[a-z]+_[0-9a-z]+")


def changes_nothing(view: _View) -> _View:
    """Mark a POST that only reads, such as a check or a dry run: it is not recorded."""
    view.changes_nothing = True  # type: ignore[attr-defined]
    return view


def about(subject: str) -> None:
    """Set the subject of this request, if neither its path nor its answer's Location ends with that id."""
    g.acted_on = subject


def begin(here: Services, actor: str) -> None:
    """Record this request. Raises LedgerUnavailable, and then nothing may be carried out."""
    view = current_app.view_functions[str(request.endpoint)]
    if getattr(view, "changes_nothing", False):
        return
    subject = next(iter((request.view_args or {}).values()), None)
    g.acted_on = None if subject is None else redact(str(subject))[:_LONGEST]
    action = f"{request.method} {request.url_rule}"
    g.action = action_log.begin(here, _new(actor, action, g.acted_on))


def finish(here: Services, response: Response) -> None:
    """Record the status, and the id of what was created, which `Location` ends with."""
    if "action" in g:
        made = urlsplit(response.headers.get("Location", "")).path.rpartition("/")[2]
        subject = g.acted_on or (made if _ID.fullmatch(made) else None)
        action_log.finish(here, g.action, response.status_code, subject)


def note(here: Services, actor: str, action: str, status: int, subject: str) -> None:
    """Record an action that is already complete."""
    action_log.finish(here, action_log.begin(here, _new(actor, action, subject)), status, subject)


def _new(actor: str, action: str, subject: str | None) -> NewAction:
    return NewAction(
        door="console", actor=actor, action=action, subject=subject, request_id=str(g.get("request_id", ""))
    )  # fmt: skip
