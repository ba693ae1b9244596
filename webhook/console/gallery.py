"""The gallery: a wall of images, newest first, with filters."""

from collections.abc import Sequence

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases.bulk import ACTIONS_OF_PICKED
from tasks.usecases.gallery import PROVIDER_NAMES, Picture, batch_names, count, gallery, similar
from webhook.console.bulk import CREATED, WORDS
from webhook.console.desk import Desk
from webhook.console.filters import NAMES, Filters, filters_of, has_empty
from webhook.console.forms import whole
from webhook.console.wording import SENT_BEFORE
from worker.generation import Operation, State

#: number of batch names that the form suggests
_SUGGESTED = 50
#: in tenths; `gallery.css` has a class for each
_NARROWEST, _WIDEST = 5, 25


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the page `/gallery`."""
    pages.app_template_filter("ratio")(ratio)
    pages.app_template_filter("title_of")(title_of)

    @pages.get("/gallery", provide_automatic_options=False)
    def show_gallery() -> ResponseBase | str:
        filters = filters_of(request.args)
        if has_empty(request.args):
            return redirect(filters.address(), 303)
        is_first = filters.request.cursor is None
        if filters.is_similar:
            alike = similar(desk.here, str(filters.request.batch))
            actions = _offered([one for group in alike.groups for one in group])
            return render_template("console/gallery.html", **_of_page(desk, filters), alike=alike, actions=actions)
        page = gallery(desk.here, filters.request)
        more = None if page.next is None else filters.address(after=page.next)
        if "HX-Request" in request.headers:
            return render_template("console/gallery_more.html", page=page, more=more, filters=filters)
        return render_template(
            "console/gallery.html",
            **_of_page(desk, filters),
            page=page,
            more=more,
            number=count(desk.here, filters.request) if is_first else None,
            newest=page.pictures[0].generation_id if page.pictures and is_first else None,
            actions=_offered(page.pictures),
        )


def _of_page(desk: Desk, filters: Filters) -> dict[str, object]:
    return {
        "filters": filters,
        "names": NAMES,
        "batches": batch_names(desk.here, _SUGGESTED),
        "states": list(State),
        "operations": list(Operation),
        "providers": PROVIDER_NAMES,
        "told": _told(),
    }


def _offered(pictures: Sequence[Picture]) -> list[str]:
    """Return the follow-ups that any of these allows."""
    found = dict.fromkeys(action for one in pictures for action in one.actions)
    picked = [one for one in ACTIONS_OF_PICKED if f"{one}1" in found]
    return [*picked, *found]


def _told() -> str | None:
    """Say what an action did; the address has only its numbers."""
    done = request.args.get("done", "")
    number, left = (whole(request.args.get(name, ""), 8) for name in ("number", "left"))
    if number is None or left is None:
        return None
    what, _ = WORDS.get(done, CREATED)
    others = f"; {left:,} left alone" if left else ""
    before = f" {SENT_BEFORE}" if request.args.get("sent") == "before" else ""
    return f"{number:,} {what}{others}.{before}"


def ratio(picture: Picture) -> int:
    """Return width divided by height in tenths, limited to the shapes that the wall has."""
    return max(_NARROWEST, min(_WIDEST, round(10 * picture.width / picture.height)))


def title_of(picture: Picture) -> str:
    """Return what an image is called where it cannot be seen."""
    words = " ".join(picture.prompt.split())
    what = words if len(words) <= 160 else f"{words[:159]}…"
    number = "" if picture.index is None else f", {picture.index + 1}"
    return f"{picture.key}{number}: {what}" if picture.key else f"{what or picture.operation}{number}"
