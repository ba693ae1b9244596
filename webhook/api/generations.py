"""/v1/generations"""

import logging
from collections.abc import Sequence

from flask import g

from tasks.usecases import control, views
from tasks.usecases.listing import list_page
from tasks.usecases.once import replay_of
from tasks.usecases.queries import ListRequest
from tasks.usecases.selection import Selection
from tasks.usecases.snapshots import Seen, see, seen_of
from tasks.usecases.submit import FollowUpRequest, SubmitResult, check, submit_once
from webhook.api.call import Call, Refused, Reply
from webhook.api.idempotency import after_the_commit, once_of
from webhook.api.labels import labels_of
from webhook.api.models.generations import (
    ActionRequest,
    Created,
    CreatedGeneration,
    GenerationDocument,
    GenerationPage,
    GenerationsQuery,
    NewGeneration,
    RetryRequest,
    Submission,
    WaitQuery,
)
from webhook.api.routes import Routes
from webhook.api.scopes import Scope
from webhook.api.submitting import Asked, names, refused_action, submit
from webhook.waiting import preferred_wait
from worker.errors import NotFound, RequestInvalid
from worker.generation import FINAL, State
from worker.steps import Step

log = logging.getLogger(__name__)

routes = Routes("generations")


@routes.post(
    "/generations",
    scope=Scope.GENERATIONS_WRITE,
    answers={201: Created, 200: Created},
    problems=(402, 409, 413, 415, 422),
    may_cost=True,
)
def create_generations(call: Call, body: Submission, query: WaitQuery) -> Reply:
    """Create one generation, or up to 1,000: all of them or none.

    A generation over a budget's cap is created and queued; `held` says which budget holds it, and until when. Needs an
    `Idempotency-Key`, or a `key` for each. A repeated request is answered with 200 and `Idempotent-Replayed: true`.
    """
    asked = Asked(body.root)
    once = once_of(call, body, is_needed=not asked.has_keys)
    is_one = isinstance(body.root, NewGeneration)
    if known := replay_of(call.here, once):
        return _created(call, known, None, is_one=is_one, query=query)
    result = submit(call, asked, once)
    return _created(call, [one.id for one in result.generations], result, is_one=is_one, query=query)


@routes.get("/generations", scope=Scope.GENERATIONS_READ, answers={200: GenerationPage}, problems=(404, 422))
def list_generations(call: Call, query: GenerationsQuery) -> Reply:
    """List generations, newest first."""
    request = ListRequest(
        state=query.state,
        batch=query.batch,
        provider=query.provider,
        key=query.key,
        search=query.search,
        labels=labels_of(query.label),
    )
    page = list_page(call.here, request, query.after, query.limit)
    data = [views.of_seen(one) for one in see(call.here, page.ids, call.shared.waits)]
    return Reply(document={"data": data, "next": page.next})


@routes.get("/generations/{id}", scope=Scope.GENERATIONS_READ, answers={200: GenerationDocument}, problems=(404, 422))
def get_generation(call: Call, id: str, query: WaitQuery) -> Reply:  # noqa: A002  the name of the path's parameter
    """Get one generation with its assets and its history."""
    seen = _see(call, id)
    seen, applied = _waited(call, seen, query)
    return Reply(document=views.of_seen(seen), headers=applied)


@routes.post(
    "/generations/{id}/retry",
    scope=Scope.GENERATIONS_WRITE,
    answers={200: GenerationDocument},
    problems=(404, 409, 415, 422),
    may_cost=True,
)
def retry_generation(call: Call, id: str, body: RetryRequest) -> Reply:  # noqa: A002
    """Submit a failed generation again, fetch an expired one again, or skip the wait for its next try."""
    once = once_of(call, body, is_needed=True)
    assert once is not None, "it is needed"  # noqa: S101
    _see(call, id)
    retried = control.retry_once(call.here, id, once, may_pay_twice=body.may_pay_twice)
    decided = retried.decided
    if not decided.is_done:
        told = decided.message
        if decided.awaited is not None:
            told = (
                f"{decided.state}: the provider may still deliver it and charge for it; Darkroom asks again at "
                f"{decided.awaited:%Y-%m-%dT%H:%M:%SZ}. To submit it again now, repeat this with may_pay_twice"
            )
        raise Refused(told, status=409, code="not_possible")
    call.shared.ring(*retried.wakes)
    _log(call, "retried", [id], is_repeated=retried.is_replayed)
    with after_the_commit():
        return Reply(document=views.of_seen(_see(call, id)), headers=_replayed(is_repeated=retried.is_replayed))


@routes.post(
    "/generations/{id}/cancel", scope=Scope.GENERATIONS_WRITE, answers={200: GenerationDocument}, problems=(404, 409)
)
def cancel_generation(call: Call, id: str) -> Reply:  # noqa: A002
    """Cancel a generation that has not been submitted yet."""
    _see(call, id)
    (decided,) = control.cancel(call.here, Selection(names=(id,))).generations
    if not decided.is_done:
        raise Refused(decided.message, status=409, code="not_possible")
    _log(call, "cancelled", [id])
    return Reply(document=views.of_seen(_see(call, id)))


@routes.post(
    "/generations/{id}/actions",
    scope=Scope.GENERATIONS_WRITE,
    answers={201: CreatedGeneration, 200: CreatedGeneration},
    problems=(404, 409, 415, 422),
    may_cost=True,
)
def create_follow_up(call: Call, id: str, body: ActionRequest, query: WaitQuery) -> Reply:  # noqa: A002
    """Create one follow-up of an archived generation, such as an upscale."""
    once = once_of(call, body, is_needed=body.key is None)
    if known := replay_of(call.here, once):
        return _created(call, known, None, is_one=True, query=query)
    _see(call, id)
    request = FollowUpRequest(
        parent_id=id,
        created_by=call.caller.by,
        is_test=call.caller.is_test,
        action=body.action,
        prompt=body.prompt,
        key=body.key,
        options=body.options,
        follow_up=names(body.follow_up) or "",
        priority=body.priority,
        labels=body.labels,
        notify=body.notify,
    )
    try:
        result = submit_once(call.here, check(call.here, request), once)
    except RequestInvalid as error:
        raise refused_action(error, body) from error
    return _created(call, [one.id for one in result.generations], result, is_one=True, query=query)


@after_the_commit()
def _created(call: Call, ids: Sequence[str], result: SubmitResult | None, *, is_one: bool, query: WaitQuery) -> Reply:
    """Answer a submission; without a `result`, it was carried out before."""
    is_repeated = result is None or result.is_repeated
    warnings = [list(one) for one in result.warnings] if result else [[] for _ in ids]
    waits = list(result.waits) if result else []
    _log(call, "created", ids, is_repeated=is_repeated)
    if not is_repeated:
        call.shared.ring(Step.DISPATCH)
    seen = see(call.here, ids, call.shared.waits)
    if not is_repeated and any(one.snapshot.generation.state is State.SUCCEEDED for one in seen):
        # A split succeeds as soon as it is created.
        call.shared.ring(Step.ARCHIVE)
    headers = _replayed(is_repeated=is_repeated)
    status = 200 if is_repeated else 201
    if is_one:
        one, applied = _waited(call, seen[0], query)
        document = views.of_seen(one) | {"warnings": warnings[0] + waits}
        return Reply(
            document=document, status=status, headers={"Location": f"/v1/generations/{ids[0]}", **headers, **applied}
        )
    batch_id = next((one.snapshot.generation.batch_id for one in seen if one.snapshot.generation.batch_id), None)
    data = [views.of_seen(one) | {"warnings": doubts} for one, doubts in zip(seen, warnings, strict=True)]
    location = f"/v1/batches/{batch_id}" if batch_id else f"/v1/generations/{ids[0]}" if len(ids) == 1 else None
    return Reply(
        document={"data": data, "batch_id": batch_id, "warnings": waits},
        status=status,
        headers={**({"Location": location} if location else {}), **headers},
    )


def _see(call: Call, generation_id: str) -> Seen:
    """Raises NotFound."""
    snapshot = call.shared.snapshots.get(generation_id)
    if snapshot is None:
        raise NotFound(f"there is no generation {generation_id}: `GET /v1/generations` lists them, also by `key`")
    return seen_of(call.here, [snapshot], call.shared.waits)[0]


def _waited(call: Call, seen: Seen, query: WaitQuery) -> tuple[Seen, dict[str, str]]:
    """Wait until it is final, for as long as the request prefers; return it, and the header with the wait applied."""
    header = preferred_wait(call.request.headers.get("Prefer"))
    seconds = query.wait if query.wait is not None else header
    if not seconds:
        return seen, {}
    applied = {"Preference-Applied": f"wait={seconds}"}
    generation = seen.snapshot.generation
    if generation.state in FINAL:
        return seen, applied
    # While it waits, it no longer needs its place among large bodies.
    g.place.close()
    if not call.shared.waiting.wait(generation.id, seconds):
        return seen, {}
    return _see(call, generation.id), applied


def _replayed(*, is_repeated: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if is_repeated else {}


def _log(call: Call, what: str, ids: Sequence[str], *, is_repeated: bool = False) -> None:
    told = f"{ids[0]} and {len(ids) - 1} more" if len(ids) > 1 else ids[0]
    again = "; the request was carried out before" if is_repeated else ""
    log.info("%s %s for %s (request %s)%s", what, told, call.caller.name, call.request_id, again)
