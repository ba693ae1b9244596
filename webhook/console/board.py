"""The board: a row for each batch, and the page of one batch; both stay up to date while they are open."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, cast

from flask import Blueprint, Flask, Response, g, get_template_attribute, redirect, render_template, request
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases.board import Board, Slow, about_batch, show_board
from tasks.usecases.names import find_batch
from webhook.console import batch_actions
from webhook.console.desk import Desk
from webhook.console.stream import FULL, Frame, Streams
from webhook.console.wording import SENT_BEFORE

#: seconds between announcements of changed totals to screen readers
_QUIET = 30.0
#: prefix of the ids of rows
_ROW = "row-"
#: number of views whose slow part is cached
_KEPT = 64
_STREAM = {"X-Accel-Buffering": "no"}


class View(NamedTuple):
    """A page of the board, either the first or the one after the batch `before`; or the page of one batch."""

    before: str | None
    batch: str | None
    may_operate: bool


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the pages `/` and `/batches/<id>`, and the stream that keeps them up to date."""
    looks = Looks(desk)
    pages.record_once(lambda state: looks.render_with(cast("Flask", state.app).app_context))
    streams = Streams(looks.frame)
    desk.shared.shutdown.add(streams.close)
    batch_actions.routes(pages, desk, streams.hurry)

    @pages.get("/", provide_automatic_options=False)
    def board() -> str:
        view = View(request.args.get("before") or None, None, g.person.may_operate)
        return render_template("console/board.html", board=looks.look(view), view=view)

    @pages.get("/batches/<batch>", provide_automatic_options=False)
    def batch(batch: str) -> ResponseBase | str:
        batch_id = find_batch(desk.here.ledger, batch)
        if batch_id != batch:
            return redirect(f"/batches/{batch_id}", 303)
        view = View(None, batch, g.person.may_operate)
        seen = looks.look(view)
        told: dict[str, object] = {name: request.args.get(name, type=int) for name in ("cancelled", "retried", "left")}
        told["before"] = SENT_BEFORE if request.args.get("sent") == "before" else ""
        about = about_batch(desk.here, batch)
        return render_template("console/batch.html", one=seen.rows[0], board=seen, about=about, view=view, told=told)

    @pages.get("/live", provide_automatic_options=False)
    def live() -> Response:
        view = View(request.args.get("before") or None, request.args.get("batch") or None, g.person.may_operate)
        if view.batch is not None:
            looks.look(view)
        stream = streams.open(view)
        if stream is not None:
            return Response(stream, mimetype="text/event-stream", headers=_STREAM)
        if "Last-Event-ID" in request.headers:
            return Response(FULL, mimetype="text/event-stream", headers=_STREAM)
        return Response(looks.frame(view).whole, mimetype="text/html")


class Looks:
    """Renders each view as HTML for the browsers that have it open."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._context: Callable[[], AbstractContextManager[object]] = nullcontext
        self._slow: dict[View, Slow] = {}
        self._said: tuple[float, str] = (-_QUIET, "")

    def render_with(self, context: Callable[[], AbstractContextManager[object]]) -> None:
        """Set the context of the application, because templates are also rendered outside of requests."""
        self._context = context

    def look(self, view: View) -> Board:
        """Raises NotFound for an unknown batch."""
        shared = self._desk.shared
        known = self._slow.get(view)
        board = show_board(self._desk.here, shared.waits, before=view.before, batch=view.batch, known=known)
        if board.slow is not known:
            self._slow.pop(view, None)
            self._slow[view] = board.slow
            while len(self._slow) > _KEPT:
                self._slow.pop(next(iter(self._slow)), None)
        return board

    def frame(self, view: View) -> Frame:
        """Raises as `look` does."""
        board = self.look(view)
        with self._context():
            parts = self._of_page(board, view) if view.batch is None else self._of_batch(board, view)
            whole = "".join(part for name, part in parts.items() if not name.startswith(_ROW))
            if view.batch is None:
                whole += partial("rows", _macro("rows")(board, view), "innerMorph")
        return Frame(whole, parts)

    def _of_page(self, board: Board, view: View) -> Mapping[str, str]:
        if time.monotonic() - self._said[0] >= _QUIET:
            self._said = time.monotonic(), partial("summary", _macro("summary")(board.totals))
        row = _macro("row")
        return {
            "totals": partial("totals", _macro("totals")(board.totals)),
            "summary": self._said[1],
            "waits": partial("waits", _macro("waits")(board.waits)),
            **{name: partial(name, row(one, view)) for one in board.rows if (name := f"{_ROW}{one.id}")},
        }

    def _of_batch(self, board: Board, view: View) -> Mapping[str, str]:
        (one,) = board.rows
        return {
            "waits": partial("waits", _macro("waits")(board.waits if one.is_open else ())),
            "standing": partial("standing", _macro("standing")(one, view)),
            "details": partial("details", _macro("details")(one, view)),
        }


def _macro(name: str) -> Callable[..., str]:
    found: Callable[..., str] = get_template_attribute("console/board_parts.html", name)
    return found


def partial(target: str, html: str, swap: str = "outerMorph") -> str:
    """Replace the element with this id by `html`, keeping unchanged parts and the focus."""
    return f'<hx-partial hx-target="#{target}" hx-swap="{swap}">{html}</hx-partial>\n'
