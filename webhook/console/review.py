"""Review: decide about images one after another, with the keyboard alone; and cull a batch's images."""

from collections.abc import Mapping
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.wrappers import Response as Redirect

from tasks.usecases import approvals as usecase
from tasks.usecases import marks, review
from tasks.usecases.approval_page import page_of
from tasks.usecases.approvals import Approval, ApprovalState
from tasks.usecases.batches.show import show_batch
from tasks.usecases.marks import CullingRequest, ImageId, Mark
from tasks.usecases.once import part_of
from tasks.usecases.review import ReviewFilter
from webhook.console.desk import Desk
from webhook.console.forms import decider, whole
from webhook.console.once import of_this_form, once
from webhook.console.wording import for_people
from webhook.deciding import decide, state_now
from worker.errors import AlreadyDecided, NotPossible, RequestInvalid

#: how many of the latest decisions are shown: beside an image, and on their own page
_BESIDE, _MOST = 5, 100
_ALL = ("", "unmarked", *Mark)


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the pages below `/review`."""
    views = _Views(desk)
    for name, rule, method, view in (
        ("review", "/review", "GET", views.start),
        ("decisions", "/review/decisions", "GET", views.decisions),
        ("cull", "/review/batch/<batch>", "GET", views.cull),
        ("mark", "/review/batch/<batch>", "POST", views.mark),
        ("approval", "/review/<approval_id>", "GET", views.show),
        ("decide", "/review/<approval_id>", "POST", views.decide),
        ("undo", "/review/<approval_id>/undo", "POST", views.undo),
    ):
        pages.add_url_rule(rule, name, view, methods=[method], provide_automatic_options=False)
    pages.app_template_filter("verdict")(verdict)


class _Views:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._here = desk.here

    def start(self) -> str | Redirect:
        """Go to the oldest pending decision, or show what to do if there is none."""
        chosen = _chosen()
        queue = review.queue_of(self._here, chosen)
        if queue.place.first is not None:
            return redirect(address(queue.place.first, chosen, of=str(queue.place.waiting)))
        latest = review.latest_decisions(self._here, _BESIDE)
        return render_template(
            "console/review_empty.html", queue=queue, chosen=chosen, latest=latest, **self._always(), **self._done()
        )

    def show(self, approval_id: str) -> str:
        return self._page(approval_id)

    def decide(self, approval_id: str) -> Response:
        chosen, who = _chosen(), decider(request.form.get("why", ""))

        def work() -> tuple[str, str]:
            place = review.queue_of(self._here, chosen, approval_id).place
            late = {}
            try:
                done = decide(self._here, approval_id, request.form, who, held_for=review.HELD_FOR)
                self._desk.shared.ring(*done.wakes)
                # Their own earlier decision: from another tab, or from this form if its answer was lost.
                is_own = done.approval.decided_by == who.name
                late = {} if done.is_new or is_own else {"late": "1"}
            except AlreadyDecided:
                late = {"late": "1"}
            # Onwards, and from the end back to what was skipped.
            following = place.after or (place.first if place.first != approval_id else None)
            return address(following, chosen, of=_of(), done=approval_id, **late), ""

        return once(self._desk, work)

    def undo(self, approval_id: str) -> Response:
        chosen, who = _chosen(), decider()

        def work() -> tuple[str, str]:
            undone = usecase.undo(self._here, approval_id, who)
            told = "Undone: decide again."
            if undone.cancelled:
                what = "1 follow-up was" if undone.cancelled == 1 else f"{undone.cancelled} follow-ups were"
                told = f"Undone, and {what} cancelled before anything was sent. Decide again."
            return address(approval_id, chosen, of=_of()), told

        try:
            return once(self._desk, work)
        except NotPossible as error:
            page = self._page(approval_id, for_people(str(error)))
            return Response(page, 409, content_type="text/html; charset=utf-8")

    def decisions(self) -> str:
        latest = review.latest_decisions(self._here, _MOST)
        return render_template("console/decisions.html", latest=latest, chosen=_chosen(), of="", **self._always())

    def cull(self, batch: str) -> str:
        wanted = request.args.get("mark", "")
        wanted = wanted if wanted in _ALL else ""
        place = marks.cull(
            self._here,
            CullingRequest(
                batch=batch,
                at=_image_id(request.args.get("at", "")),
                mark=Mark(wanted) if wanted in set(Mark) else None,
                unmarked=wanted == "unmarked",
            ),
        )
        facts = show_batch(self._here, batch)
        return render_template("console/cull.html", batch=facts, place_of=place, wanted=wanted)

    def mark(self, batch: str) -> Response:
        at, verdict, who = _image_id(request.form.get("at", "")), request.form.get("verdict", ""), decider()
        wanted = request.form.get("mark", "")
        following = _image_id(request.form.get("following", "")) or at

        def to(image: ImageId | None) -> str:
            place = {"at": f"{image.generation_id}/{image.index}"} if image else {}
            query = urlencode({**({"mark": wanted} if wanted in _ALL[1:] else {}), **place})
            return f"/review/batch/{batch}?{query}"

        def work() -> tuple[str, str]:
            if verdict == "undo":
                undone = marks.undo_last(self._here, who, part_of(of_this_form(), "undone"))
                return to(undone or at), "" if undone else "You have no decision to undo."
            if at is None:
                raise RequestInvalid("say which image you mean")
            if verdict == "clear":
                marks.clear_mark(self._here, at)
                return to(at), ""
            if verdict not in set(Mark):
                raise RequestInvalid("choose whether to pick or to reject the image")
            marks.mark(self._here, at, Mark(verdict), who)
            return to(following), ""

        return once(self._desk, work)

    def _page(self, approval_id: str, why_not: str = "") -> str:
        chosen = _chosen()
        queue = review.queue_of(self._here, chosen, approval_id)
        shown = review.review(self._here, approval_id, queue.place)
        latest = review.latest_decisions(self._here, _BESIDE)
        return render_template(
            "console/review.html",
            page=shown.page,
            approval=shown.page.approval,
            following=shown.next,
            state=str(state_now(shown.page.approval, self._here.clock())),
            queue=queue,
            chosen=chosen,
            of=max(int(_of() or 0), queue.place.waiting),
            latest=latest,
            why_not=why_not,
            **self._always(),
            **self._done(),
        )

    def _done(self) -> Mapping[str, object]:
        """Return the decision that led here, which can be undone."""
        done = request.args.get("done", "")
        page = page_of(self._here, done) if done.startswith("apr_") else None
        return {"done": page, "is_late": "late" in request.args}

    def _always(self) -> Mapping[str, object]:
        return {"now": self._here.clock(), "held_for": review.HELD_FOR, "address": address}


def address(approval_id: str | None, chosen: ReviewFilter, **more: str) -> str:
    """Return the address of an approval under this filter; without an approval, of the pending ones."""
    facts = {"batch": chosen.batch, "recipe": chosen.recipe, **more}
    query = urlencode({name: value for name, value in facts.items() if value})
    path = f"/review/{approval_id}" if approval_id else "/review"
    return f"{path}?{query}" if query else path


def verdict(approval: Approval) -> str:
    """Return what was decided, in a few words."""
    match approval.state:
        case ApprovalState.DECIDED:
            return f"approved {', '.join(map(str, approval.picked or ()))}"
        case ApprovalState.REJECTED:
            return "rejected all"
        case ApprovalState.EXPIRED:
            return "expired"
    return "waits for a decision"


def _chosen() -> ReviewFilter:
    given = request.form if request.method == "POST" else request.args
    return ReviewFilter(given.get("batch") or None, given.get("recipe") or None)


def _of() -> str:
    """Return how many there were at the start."""
    given = (request.form if request.method == "POST" else request.args).get("of", "")
    return given if given.isascii() and given.isdigit() and len(given) < 8 else ""


def _image_id(text: str) -> ImageId | None:
    generation_id, slash, index = text.rpartition("/")
    number = whole(index, 4)
    return ImageId(generation_id, number) if slash and number is not None else None
