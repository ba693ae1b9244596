"""Actions on many images: a preview, the action on exactly what was previewed, and downloads."""

import re
from datetime import UTC, datetime
from threading import BoundedSemaphore

from flask import Blueprint, Response, g, redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases.bulk import CANCEL, DELETE, RETRY, Chosen, Pick, Wish, carry_out_once, foresee, read_amount
from tasks.usecases.gallery_zip import plan_zip, stream_zip
from tasks.usecases.once import once_for
from webhook.console.acting import changes_nothing
from webhook.console.desk import Desk
from webhook.console.filters import Filters, filters_of
from webhook.console.forms import fields_asked, form_key, owner, whole
from webhook.console.problems import Refusal
from worker.errors import RequestInvalid

DOWNLOAD = "download"
#: concurrent downloads: each occupies a thread
MOST_DOWNLOADS = 4
_PICK = re.compile(r"(gen_[0-9a-f]{32})(?:\.([0-9]{1,6}))?")
_GENERATION = re.compile(r"gen_[0-9a-f]{32}")
_BUSY = "Other downloads are in progress. Try again when one has finished."
#: action → what would be done, and the label of its button
WORDS = {
    RETRY: ("submitted again", "Submit again"),
    CANCEL: ("cancelled", "Cancel"),
    DELETE: ("deleted", "Delete"),
    DOWNLOAD: ("downloaded", "Download"),
}
#: for all other actions
CREATED = ("created", "Create")


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the routes that the gallery's forms use."""
    places = BoundedSemaphore(MOST_DOWNLOADS)

    @pages.post("/gallery/actions", provide_automatic_options=False)
    @changes_nothing
    def look() -> str:
        filters = filters_of(request.form)
        chosen = _chosen(request.form, filters)
        action = request.form.get("action", "")
        plan = plan_zip(desk.here, chosen) if action == DOWNLOAD else None
        seen = None if plan else foresee(desk.here, chosen, Wish(action=action, by=g.person.name))
        done, button = WORDS.get(action, CREATED)
        return render_template(
            "console/gallery_action.html",
            filters=filters,
            picks=request.form.get("picks", ""),
            action=action,
            done=done,
            button=button,
            plan=plan,
            seen=seen,
        )

    @pages.post("/gallery/actions/confirmed", provide_automatic_options=False)
    def act() -> ResponseBase:
        form = request.form
        filters, action = filters_of(form), form.get("action", "")
        chosen = _chosen(form, filters)
        if chosen.most is None or chosen.newest is None or chosen.seen_at is None:
            raise RequestInvalid("the form is incomplete: go back to the gallery and select again")
        if action == DELETE and form.get("typed", "").strip() != str(chosen.most):
            raise RequestInvalid(f"nothing was deleted: type {chosen.most} to delete that many")
        wish = Wish(
            action=action,
            by=g.person.name,
            max_cost=read_amount(form.get("max_cost", "")),
            with_objects="objects" in form,
        )
        if (key := form_key()) is None:
            raise RequestInvalid("the form has no key of its own: go back to the gallery and select again")
        once = once_for(owner(), key, fields_asked())
        done = carry_out_once(desk.here, chosen, wish, once)
        desk.shared.ring(*done.wakes)
        left = sum(done.left.values())
        told = {"done": action, "number": str(done.number), "left": str(left)}
        return redirect(filters.address(**told, **({"sent": "before"} if done.may_be_more else {})), 303)

    @pages.route("/gallery/download", methods=["GET", "POST"], provide_automatic_options=False)
    @changes_nothing
    def download() -> Response:
        form = request.form if request.method == "POST" else request.args
        filters = filters_of(form)
        plan = plan_zip(desk.here, _chosen(form, filters))
        if not plan.files:
            raise RequestInvalid("none of it is stored, so there is nothing to download")
        if not places.acquire(blocking=False):
            raise Refusal(_BUSY, status=503, headers={"Retry-After": "30"})
        response = Response(stream_zip(desk.here, plan), content_type="application/zip")
        response.call_on_close(places.release)
        response.content_length = plan.length
        response.headers["Content-Disposition"] = f'attachment; filename="{_name(filters)}.zip"'
        return response


def _name(filters: Filters) -> str:
    """Return the file's name: the batch's, if every header can carry that."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", filters.request.batch or "").strip(".-")
    return name[:80] or "pictures"


def _chosen(form: MultiDict[str, str], filters: Filters) -> Chosen:
    picks = tuple(_pick(one) for one in form.get("picks", "").split())
    newest, most = form.get("newest") or None, whole(form.get("most", ""), 8)
    if newest is not None and not _GENERATION.fullmatch(newest):
        raise RequestInvalid("the form names no generation as the newest: go back to the gallery and select again")
    if most is None and form.get("most"):
        raise RequestInvalid("the form does not say how many: go back to the gallery and select again")
    if filters.is_similar and not picks:
        raise RequestInvalid("this view takes only selected images: it does not show all that match")
    return Chosen(
        picks=picks,
        request=filters.request,
        newest=newest,
        seen_at=_moment(form.get("seen_at")),
        most=most,
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError) as error:
        raise RequestInvalid(
            "the form does not say when you looked: go back to the gallery and select again"
        ) from error


def _pick(text: str) -> Pick:
    found = _PICK.fullmatch(text)
    if found is None:
        raise RequestInvalid(f"{text[:60]!r} is not an image in the gallery: go back and select again")
    return Pick(found[1], None if found[2] is None else int(found[2]))
