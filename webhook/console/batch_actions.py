"""Actions on a batch: pause, resume, cancel, retry, and download its results."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases.batches import steer
from tasks.usecases.batches.results import ERROR_FORMATS, Format
from tasks.usecases.batches.retry import BatchRetryRequest, check_batch_retry, retry_batch
from tasks.usecases.batches.show import show_batch
from tasks.usecases.batches.steer import Steered
from tasks.usecases.once_only import carry_out
from tasks.usecases.services import LedgerServices
from webhook.console.desk import Desk
from webhook.console.forms import once_of
from webhook.console.problems import Refusal
from webhook.results_file import results_file
from worker.failures import Category
from worker.generation import OPEN, State

_OFFERED = (Format.CSV, Format.XLSX, Format.JSONL, Format.JSON)


def routes(pages: Blueprint, desk: Desk, changed: Callable[[], None]) -> None:
    """Add the routes below `/batches/<id>`. `changed`: called when open pages have become stale."""
    _add_steering(pages, desk, changed)
    _add_cancelling(pages, desk)
    _add_retrying(pages, desk)
    _add_results(pages, desk)


def _add_steering(pages: Blueprint, desk: Desk, changed: Callable[[], None]) -> None:
    def steered(batch: str, verb: Callable[[LedgerServices, str], Steered]) -> ResponseBase:
        desk.shared.ring(*verb(desk.here, batch).wakes)
        changed()
        # The row updates itself; without scripts, the page is reloaded.
        if "HX-Request" in request.headers:
            return Response(status=204)
        return redirect(f"/batches/{batch}" if "page" in request.args else "/", 303)

    @pages.post("/batches/<batch>/pause", provide_automatic_options=False)
    def pause_batch(batch: str) -> ResponseBase:
        return steered(batch, steer.pause)

    @pages.post("/batches/<batch>/resume", provide_automatic_options=False)
    def resume_batch(batch: str) -> ResponseBase:
        return steered(batch, steer.resume)


def _add_cancelling(pages: Blueprint, desk: Desk) -> None:
    @pages.get("/batches/<batch>/cancel", provide_automatic_options=False)
    def ask_to_cancel(batch: str) -> str:
        found = show_batch(desk.here, batch)
        counts = found.batch.counts
        return render_template(
            "console/batch_cancel.html",
            id=batch,
            name=found.batch.facts.name,
            queued=counts.get(State.QUEUED, 0),
            under_way=sum(counts.get(state, 0) for state in OPEN - {State.QUEUED}),
            decisions=found.decisions,
        )

    @pages.post("/batches/<batch>/cancel", provide_automatic_options=False)
    def cancel_batch(batch: str) -> ResponseBase:
        cancelled = steer.cancel(desk.here, batch)
        desk.shared.ring(*cancelled.wakes)
        return _back(batch, cancelled=cancelled.done["cancelled"])


def _add_retrying(pages: Blueprint, desk: Desk) -> None:
    @pages.get("/batches/<batch>/retry", provide_automatic_options=False)
    def ask_to_retry(batch: str) -> str:
        asked = _retry_of(batch, request.args)
        check = check_batch_retry(desk.here, asked)
        return render_template(
            "console/batch_retry.html",
            id=batch,
            name=show_batch(desk.here, batch).batch.facts.name,
            only=next(iter(asked.only), None),
            may_pay_twice=asked.may_pay_twice,
            check=check,
            left=_not_asked_for(check.left),
        )

    @pages.post("/batches/<batch>/retry", provide_automatic_options=False)
    def retry_failures(batch: str) -> ResponseBase:
        asked = _retry_of(batch, request.form)

        def work(asked_at: datetime) -> Mapping[str, Any]:
            done = retry_batch(desk.here, replace(asked, failed_before=asked_at))
            desk.shared.ring(*done.decisions.wakes)
            return {"retried": sum(done.done.values()), "left": sum(_not_asked_for(done.left).values())}

        once = once_of([sorted(asked.only), asked.may_pay_twice])
        done = carry_out(desk.here, once, work)
        return _back(batch, **done.document, **({"sent": "before"} if done.may_be_more else {}))


def _add_results(pages: Blueprint, desk: Desk) -> None:
    @pages.get("/batches/<batch>/<any(results, errors):what>.<wanted>", provide_automatic_options=False)
    def results(batch: str, what: str, wanted: str) -> Response:
        if wanted not in _OFFERED or (what == "errors" and wanted not in ERROR_FORMATS):
            raise NotFound
        return results_file(desk.here, batch, Format(wanted), errors=what == "errors", mark=True)


def _back(batch: str, **told: int | str) -> ResponseBase:
    return redirect(f"/batches/{batch}?{urlencode(told)}", 303)


def _retry_of(batch: str, fields: Mapping[str, str]) -> BatchRetryRequest:
    """Raise Refusal for a kind of failure that does not exist."""
    only = fields.get("only", "")
    if only and only not in set(Category):
        raise Refusal("there is no such kind of failure: go back to the batch and choose one", status=422)
    chosen = frozenset({Category(only)} if only else ())
    return BatchRetryRequest(batch=batch, only=chosen, may_pay_twice=fields.get("may_pay_twice") == "1")


def _not_asked_for(left: Mapping[str, int]) -> dict[str, int]:
    """Leave out what was not asked for: other kinds of failures, and generations that did not fail."""
    return {why: number for why, number in left.items() if why not in {*Category, *State}}
