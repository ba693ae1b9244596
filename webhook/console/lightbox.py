"""The lightbox: one generation, its image, and what can be made of it."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases import control
from tasks.usecases.accept import AcceptRequest, AssetChoice, accept
from tasks.usecases.assets import text_of
from tasks.usecases.beside import beside
from tasks.usecases.lightbox import Looked, look
from tasks.usecases.offers import Offer
from tasks.usecases.once import replay_of
from tasks.usecases.providers import provider_title
from tasks.usecases.queries import get_generations
from tasks.usecases.selection import Selection
from tasks.usecases.submit import FollowUpRequest, SubmitResult, check, submit_once
from webhook.console.desk import Desk
from webhook.console.filters import filters_of
from webhook.console.forms import author, decider, once_of, whole
from webhook.console.problems import Refusal
from worker.errors import RequestInvalid
from worker.generation import OPEN, Asset, Generation, Operation, State
from worker.secrets import links_hidden
from worker.steps import Step

#: image types that browsers show
SHOWN = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"})
FILMS = frozenset({"video/mp4", "video/webm"})
#: pixels per side, until the size is known
_SQUARE = 1024
#: operations whose actions name an image by number, so that their buttons show only the number
_NUMBERED = (Operation.UPSCALE, Operation.VARIATION, Operation.VIDEO_EXTEND)


class Group(NamedTuple):
    """Offers of one operation, or without an `operation`, of several. `cost`: of each, if all cost the same."""

    operation: Operation | None
    offers: Sequence[Offer]
    cost: str | None
    is_free: bool


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add `/generations/<id>`, and the routes of its buttons."""
    _pages(pages, desk)
    _buttons(pages, desk)


def _pages(pages: Blueprint, desk: Desk) -> None:

    @pages.get("/generations/<generation>", provide_automatic_options=False)
    def show_generation(generation: str) -> ResponseBase | str:
        looked = look(desk.here, generation)
        found = looked.story.generation
        if found.id != generation:
            return redirect(_address(found.id), 302)
        return render_template("console/lightbox.html", **_page(desk, looked))

    @pages.get("/generations/<generation>/now", provide_automatic_options=False)
    def show_state(generation: str) -> ResponseBase:
        (found,) = get_generations(desk.here, [generation])
        if found.state != request.args.get("was"):
            # The whole page has changed.
            return Response(status=204, headers={"HX-Refresh": "true"})
        return Response(render_template("console/lightbox_state.html", generation=found, is_open=found.state in OPEN))


def _buttons(pages: Blueprint, desk: Desk) -> None:
    @pages.post("/generations/<generation>/actions", provide_automatic_options=False)
    def follow_up(generation: str) -> ResponseBase:
        action, image = request.form.get("action", ""), _number(request.form.get("image"))
        once = once_of([action, image])
        if known := replay_of(desk.here, once):
            (first,) = get_generations(desk.here, known[:1])
            return to_made(first, 1, is_repeated=True)
        wanted = FollowUpRequest(parent_id=generation, action=action, image=image, created_by=author())
        return made(desk, submit_once(desk.here, check(desk.here, wanted), once))

    @pages.post("/generations/<generation>/retry", provide_automatic_options=False)
    def retry(generation: str) -> ResponseBase:
        may_pay_twice = "may_pay_twice" in request.form
        once = once_of([may_pay_twice])
        retried = control.retry_once(desk.here, generation, once, may_pay_twice=may_pay_twice)
        if not retried.decided.is_done:
            raise Refusal(_left_alone(retried.decided), status=409)
        desk.shared.ring(*retried.wakes)
        return redirect(_address(generation), 303)

    @pages.post("/generations/<generation>/cancel", provide_automatic_options=False)
    def cancel(generation: str) -> ResponseBase:
        (decided,) = control.cancel(desk.here, Selection(names=(generation,))).generations
        # If the form is sent again, the generation is already as requested.
        if not decided.is_done and decided.state is not State.CANCELLED:
            raise Refusal(decided.message, status=409)
        return redirect(_address(generation), 303)

    @pages.post("/generations/<generation>/accept", provide_automatic_options=False)
    def accept_file(generation: str) -> ResponseBase:
        index = _number(request.form.get("index"))
        if index is None:
            raise Refusal("the form does not say which file: reload the page and send it again", status=400)
        who = decider(request.form.get("why", ""))
        accept(desk.here, AcceptRequest((AssetChoice(generation, index),), who), lambda *_: None)
        desk.shared.ring(Step.ARCHIVE)
        return redirect(_address(generation, index), 303)


def made(desk: Desk, result: SubmitResult) -> ResponseBase:
    """Wake the steps that have work now, and redirect to what was created."""
    if not result.is_repeated:
        desk.shared.ring(Step.DISPATCH)
        if any(one.state is State.SUCCEEDED for one in result.generations):
            # A split succeeds as soon as it is created.
            desk.shared.ring(Step.ARCHIVE)
    return to_made(result.generations[0], len(result.generations), is_repeated=result.is_repeated)


def to_made(first: Generation, number: int, *, is_repeated: bool) -> ResponseBase:
    """Redirect to what was created: the batch, if there are several."""
    address = f"/batches/{first.batch_id}" if number > 1 and first.batch_id else f"/generations/{first.id}"
    return redirect(f"{address}{'?sent=before' if is_repeated else ''}", 303)


def _page(desk: Desk, looked: Looked) -> Mapping[str, object]:
    story = looked.story
    shown = _shown(story.assets)
    filters = filters_of(request.args)
    near = beside(desk.here, filters.request, story.generation.id, shown.index if shown else None)
    return {
        "looked": looked,
        "story": story,
        "generation": story.generation,
        "shown": shown,
        "text": None if shown is None or shown.content is None else links_hidden(text_of(shown.content)),
        "size": size_of(shown),
        "groups": _groups(looked.offers.offers),
        "provider": provider_title(story.generation.provider),
        "is_open": story.generation.state in OPEN,
        "before": near.before,
        "after": near.after,
        "filters": filters,
        "is_sent_before": request.args.get("sent") == "before",
        "SHOWN": SHOWN,
        "FILMS": FILMS,
        "numbered": _NUMBERED,
        "accounts": [one.account for one in story.attempts],
    }


def _shown(assets: Sequence[Asset]) -> Asset | None:
    wanted = _number(request.args.get("index"))
    if wanted is None:
        return assets[0] if assets else None
    found = next((one for one in assets if one.index == wanted), None)
    if found is None and assets:
        raise NotFound
    return found


def size_of(asset: Asset | None) -> tuple[int, int]:
    """Return width and height, so that the layout does not shift when the image arrives."""
    if asset is None or not asset.width or not asset.height:
        return _SQUARE, _SQUARE
    return asset.width, asset.height


def _groups(offers: Sequence[Offer]) -> list[Group]:
    found, alone = [], list[Offer]()
    for operation, several in groupby(offers, key=lambda one: one.operation):
        these = list(several)
        if operation is None or len(these) == 1:
            alone += these
            continue
        costs = {(one.cost, one.is_free) for one in these}
        cost, is_free = costs.pop() if len(costs) == 1 else (None, False)
        found.append(Group(operation, these, cost, is_free))
    return [*found, Group(None, alone, None, is_free=False)] if alone else found


def _left_alone(decided: control.Decided) -> str:
    if decided.awaited is None:
        return decided.message
    return (
        f"the provider may still deliver it and charge for it; Darkroom asks again at "
        f"{decided.awaited:%H:%M} UTC. To submit it again now, choose “it may be paid for twice”"
    )


def _number(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if (number := whole(text, 6)) is None:
        raise RequestInvalid(f"{text[:40]!r} is not an image number")
    return number


def _address(generation_id: str, index: int | None = None) -> str:
    return f"/generations/{generation_id}{'' if index is None else f'?index={index}'}"
