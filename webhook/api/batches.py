"""/v1/batches"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flask import Response

from tasks.usecases import views
from tasks.usecases.batch_file import MEDIA_TYPES
from tasks.usecases.batches import steer
from tasks.usecases.batches.check import BatchCheck, RowsInvalid, check_batch
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.results import Format
from tasks.usecases.batches.retry import BatchRetryRequest, retry_batch
from tasks.usecases.batches.show import list_batches, show_batch
from tasks.usecases.batches.steer import NewSteering, Steered
from tasks.usecases.batches.submit import submit_file, unique_name
from tasks.usecases.once import Once
from tasks.usecases.once_only import Answered, carry_out
from webhook.api.amounts import millionths
from webhook.api.batch_files import MOST_ERRORS, batch_request, batch_rows, rows_refused
from webhook.api.call import Call, Reply
from webhook.api.idempotency import key_missing, once_of
from webhook.api.models.batches import (
    BatchAnswer,
    BatchDetailsDocument,
    BatchesQuery,
    BatchPage,
    BatchRetriedDocument,
    BatchRetry,
    BatchSubmittedDocument,
    NewBatch,
    NewBatchFile,
    NewLimits,
    NewPriority,
    ResultsQuery,
    SteeredDocument,
)
from webhook.api.reading import refused_at
from webhook.api.routes import Routes
from webhook.api.scopes import Scope
from webhook.api.wording import for_programs
from webhook.results_file import results_file
from worker.errors import KeyInUse
from worker.steps import Step

log = logging.getLogger(__name__)

routes = Routes("batches")

#: the owner of the lease on a name; batches of all tokens are found by name
_NAMES = "batch"
#: lists of sentences in documents
_SENTENCES = ("not_applied", "warnings", "waits")


@routes.post(
    "/batches",
    scope=Scope.BATCHES_WRITE,
    answers={201: BatchSubmittedDocument, 200: BatchAnswer},
    problems=(409, 411, 413, 415, 422),
    media=tuple(MEDIA_TYPES),
    may_cost=True,
)
def create_batch(call: Call, query: NewBatchFile, body: NewBatch | None) -> Reply:
    """Submit a batch: rows in JSON, or a file.

    A file is the body itself, with its options in the query string. Each row is submitted once, however often the
    request is repeated: rows that are already in the batch are skipped. Without an Idempotency-Key, each row needs its
    own key. Images are links, or references to stored ones.
    """
    options = query if body is None else body
    with batch_rows(call, query, body) as (given, file):
        if options.dry_run:
            request = batch_request(call, given, file, query, body)
            found = check_batch(call.here, request, max_submissions=options.max_submissions)
            return Reply(document=_for_programs(views.of_batch_check(file, found, MOST_ERRORS)))
        name = unique_name(given, is_test=call.caller.is_test)
        # The name may come from the file.
        asked = options.model_copy(update={"name": name})
        once = once_of(call, asked, is_needed=False, file_sha256=file.sha256)

        def submit(_: datetime) -> Mapping[str, Any]:
            # Only now: a request that was carried out keeps its answer, even if the setup has changed since.
            request = batch_request(call, given, file, query, body)
            return _submit(call, request, body, options.max_submissions)

        answered = _once(call, once, name, submit)
    document = answered.document
    headers = {"Location": f"/v1/batches/{document['batch']}"} if document["batch"] else {}
    is_new = document["created"] and not answered.is_replayed
    return _reply(answered, 201 if is_new else 200, headers)


@routes.get("/batches", scope=Scope.BATCHES_READ, answers={200: BatchPage}, problems=(422,))
def get_batches(call: Call, query: BatchesQuery) -> Reply:
    """List batches, newest first."""
    found = list(list_batches(call.here, query.limit + 1, before=query.after))
    page = found[: query.limit]
    following = page[-1].facts.id if len(found) > len(page) else None
    return Reply(document={"data": [views.of_listed_batch(one) for one in page], "next": following})


@routes.get(
    "/batches/{id}", scope=Scope.BATCHES_READ, answers={200: BatchDetailsDocument}, problems=(404, 422)
)  # fmt: skip
def get_batch(call: Call, id: str) -> Reply:  # noqa: A002  the name of the path's parameter
    """Get one batch with its counts, its spend and what it waits for."""
    return Reply(document=views.of_batch_details(show_batch(call.here, id)))


@routes.get(
    "/batches/{id}/results",
    scope=Scope.BATCHES_READ,
    answers={200: tuple(one.content_type for one in Format if one is not Format.HTML)},
    problems=(404, 422),
)
def get_batch_results(call: Call, id: str, query: ResultsQuery) -> Response:  # noqa: A002
    """Get every row back, in file order, with its results, costs and reasons."""
    links = None if query.links is None else timedelta(seconds=query.links)
    return results_file(call.here, id, Format(query.format), errors=query.errors, links=links)


@routes.post(
    "/batches/{id}/retry",
    scope=Scope.BATCHES_WRITE,
    answers={200: BatchRetriedDocument},
    problems=(404, 409, 415, 422),
    may_cost=True,
)
def retry_one_batch(call: Call, id: str, body: BatchRetry) -> Reply:  # noqa: A002
    """Retry the failed or expired generations of a batch.

    Failed generations are submitted and paid for again; for expired ones only new links are requested. It needs an
    Idempotency-Key: the same request with the same key retries nothing twice.
    """
    once = once_of(call, body, is_needed=True)

    def retry(asked_at: datetime) -> Mapping[str, Any]:
        only = frozenset(body.only)
        retried = retry_batch(
            call.here,
            BatchRetryRequest(batch=id, only=only, may_pay_twice=body.may_pay_twice, failed_before=asked_at),
        )
        if retried.decisions.wakes:
            call.shared.ring(*retried.decisions.wakes)
        number = sum(retried.done.values())
        log.info(
            "batch %s: %d retried; requested by %s in request %s",
            retried.batch_id, number, call.caller.name, call.request_id,
        )  # fmt: skip
        return _for_programs(views.of_batch_retried(retried))

    answered = _once(call, once, id, retry)
    return _reply(replace(answered, document={**answered.document, "sent_before": answered.may_be_more}), 200)


@routes.post(
    "/batches/{id}/pause", scope=Scope.BATCHES_WRITE, answers={200: SteeredDocument}, problems=(404, 422)
)  # fmt: skip
def pause_batch(call: Call, id: str) -> Reply:  # noqa: A002
    """Pause the submissions of a batch."""
    return _steered(call, steer.pause(call.here, id))


@routes.post(
    "/batches/{id}/resume", scope=Scope.BATCHES_WRITE, answers={200: SteeredDocument}, problems=(404, 422)
)  # fmt: skip
def resume_batch(call: Call, id: str) -> Reply:  # noqa: A002
    """Continue a paused batch."""
    return _steered(call, steer.resume(call.here, id))


@routes.post(
    "/batches/{id}/cancel", scope=Scope.BATCHES_WRITE, answers={200: SteeredDocument}, problems=(404, 422)
)  # fmt: skip
def cancel_batch(call: Call, id: str) -> Reply:  # noqa: A002
    """Cancel the queued generations of a batch, and create no follow-ups of those in progress."""
    return _steered(call, steer.cancel(call.here, id))


@routes.post(
    "/batches/{id}/reprioritize", scope=Scope.BATCHES_WRITE, answers={200: SteeredDocument}, problems=(404, 415, 422)
)
def reprioritize_batch(call: Call, id: str, body: NewPriority) -> Reply:  # noqa: A002
    """Change the priority of the queued generations of a batch."""
    return _steered(call, steer.reprioritize(call.here, id, body.priority))


@routes.post("/batches/{id}/limit", scope=Scope.BATCHES_WRITE, answers={200: SteeredDocument}, problems=(404, 415, 422))
def limit_batch(call: Call, id: str, body: NewLimits) -> Reply:  # noqa: A002
    """Set the start, cost limit and concurrency of a batch; null removes a limit."""
    changes: NewSteering = {}
    if "start_at" in body.model_fields_set:
        changes["start_at"] = body.start_at
    if "max_cost" in body.model_fields_set:
        changes["max_cost"] = millionths(body.max_cost)
    if "max_in_flight" in body.model_fields_set:
        changes["max_in_flight"] = body.max_in_flight
    if not changes:
        nothing = "nothing to change: give start_at, max_cost or max_in_flight, or null to remove one"
        raise refused_at("the body is invalid", [{"pointer": "", "detail": nothing}])
    return _steered(call, steer.limit(call.here, id, changes))


def _submit(call: Call, request: BatchRequest, body: NewBatch | None, most: int) -> Mapping[str, Any]:
    def checked(found: BatchCheck) -> None:
        if found.unkeyed and call.idempotency_key is None:
            verb = "has" if found.unkeyed == 1 else "have"
            raise key_missing(f"{found.unkeyed:,} of the rows {verb} no key, and this request has no Idempotency-Key")

    def tell(sentence: str) -> None:
        log.info("request %s: %s", call.request_id, sentence)

    try:
        result = submit_file(call.here, request, max_submissions=most, checked=checked, tell=tell)
    except RowsInvalid as error:
        raise rows_refused(error.found, body) from error
    if result.created:
        call.shared.ring(Step.DISPATCH)
    log.info(
        "batch %s: %d created, %d existing; requested by %s in request %s",
        result.batch_id, result.created, result.existing, call.caller.name, call.request_id,
    )  # fmt: skip
    return _for_programs(views.of_batch_submitted(result))


def _steered(call: Call, steered: Steered) -> Reply:
    if steered.wakes:
        call.shared.ring(*steered.wakes)
    log.info(
        "batch %s: %s; requested by %s in request %s",
        steered.after.id, steered.action, call.caller.name, call.request_id,
    )  # fmt: skip
    return Reply(document=views.of_steered(steered))


def _once(call: Call, once: Once | None, name: str, work: Callable[[datetime], Mapping[str, Any]]) -> Answered:
    """`name`: the batch's, by which its rows with keys are found; without `once`, only one request writes at a time."""
    if once is not None:
        return carry_out(call.here, once, work, passing=_SENTENCES)
    try:
        return carry_out(call.here, Once(owner=_NAMES, key=name, request_sha256=""), work, is_kept=False)
    except KeyInUse:
        raise KeyInUse(f"another request is submitting the batch {name!r}: repeat this one later") from None


def _reply(answered: Answered, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    replayed = {"Idempotent-Replayed": "true"} if answered.is_replayed else {}
    return Reply(document=answered.document, status=status, headers={**(headers or {}), **replayed})


def _for_programs(document: dict[str, Any]) -> dict[str, Any]:
    """Return it with the API's words in its sentences."""
    named: dict[str, Any] = {
        name: [for_programs(one) for one in document[name]] for name in _SENTENCES if name in document
    }
    if "left" in document:
        named["left"] = {for_programs(why): number for why, number in document["left"].items()}
    if "errors" in document:
        named["errors"] = [{**one, "message": for_programs(one["message"])} for one in document["errors"]]
    return {**document, **named}
