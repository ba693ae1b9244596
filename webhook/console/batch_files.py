"""The drop zone of the page Submit: a batch file and its images, checked in place, then submitted unchanged."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import IO, Any, BinaryIO, cast

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases.batch_file import BatchFile, open_batch_file
from tasks.usecases.batches.preview import Preview, preview
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.submit import submit_file
from tasks.usecases.entry_check import DEFAULT_PROVIDER, Defaults
from tasks.usecases.inputs import EnclosedFiles
from tasks.usecases.once_only import carry_out
from tasks.usecases.provider_choice import read_providers
from webhook.bodies import LARGEST_FILE
from webhook.console.acting import changes_nothing
from webhook.console.desk import Desk
from webhook.console.forms import author, once_of
from webhook.console.guard import takes
from webhook.console.submitting import batch_page
from webhook.console.wording import for_people
from worker.errors import ConfigurationError, RequestInvalid
from worker.pricing import read_amount
from worker.steps import Step

log = logging.getLogger(__name__)

#: mistakes that one page lists
_MOST_LISTED = 100
_PIECE = 1024 * 1024
#: fields that affect what is submitted; the others affect only when
_DECIDING = ("batch_provider", "batch_recipe", "batch_template", "sheet", "is_test", "new_version")
_OTHERS = ("batch_name", "batch_priority", "batch_max_cost", "batch_start", "offset")
#: fields that can have mistakes
FIELDS = ("file", "batch_name", "batch_provider", "batch_recipe", "batch_template", "batch_priority", "batch_max_cost",
          "batch_start")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFindings:
    """`mistakes`: field → what is wrong there; `""` stands for the whole form. `digest`: of what was checked.

    `preview`: None if the file cannot be a batch. `sheets`: of a spreadsheet with several. `is_changed`: it differs
    from what was checked before.
    """

    mistakes: Mapping[str, list[str]] = field(default_factory=dict)
    digest: str = ""
    filename: str = ""
    preview: Preview | None = None
    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    is_changed: bool = False


class _Wrong(Exception):
    """`mistakes`: as in `BatchFindings`."""

    def __init__(self, field: str, told: str) -> None:
        super().__init__()
        self.mistakes = {field: [for_people(told)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """`digest`: of the bytes and of the fields that affect what is submitted."""

    request: BatchRequest
    digest: str


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add the routes that the drop zone uses."""

    @pages.post("/submit/batch/check", provide_automatic_options=False)
    @takes(LARGEST_FILE)
    @changes_nothing
    def check_file() -> ResponseBase:
        try:
            with _asked(desk) as asked:
                return _answer(desk, _looked_at(desk, asked))
        except _Wrong as wrong:
            return _answer(desk, BatchFindings(mistakes=wrong.mistakes))

    @pages.post("/submit/batch", provide_automatic_options=False)
    @takes(LARGEST_FILE)
    def submit_rows() -> ResponseBase:
        try:
            with _asked(desk) as asked:
                if request.form.get("checked") != asked.digest:
                    return _answer(desk, _looked_at(desk, asked, is_changed=True), status=409)
                once = once_of([asked.digest, *_values(request.form, _OTHERS), "skip_invalid" in request.form])
                done = carry_out(desk.here, once, lambda _: _submit(desk, asked.request))
        except _Wrong as wrong:
            return _answer(desk, BatchFindings(mistakes=wrong.mistakes), status=422)
        except RequestInvalid as error:
            # A provider, a price or the batch has changed since the check.
            return _answer(desk, BatchFindings(mistakes={"": [for_people(str(error))]}), status=422)
        address = f"/batches/{done.document['batch']}{'?sent=before' if done.is_replayed else ''}"
        if "HX-Request" in request.headers:
            return Response(headers={"HX-Redirect": address, "Location": address})
        return redirect(address, 303)


def _submit(desk: Desk, asked: BatchRequest) -> Mapping[str, Any]:
    result = submit_file(desk.here, asked, tell=lambda told: log.info("batch %s: %s", asked.name, told))
    if result.batch_id is None:
        raise RequestInvalid("none of its rows is valid, so nothing was written")
    if result.created:
        desk.shared.ring(Step.DISPATCH)
    return {"batch": result.batch_id, "created": result.created, "existing": result.existing}


def _looked_at(desk: Desk, asked: _Asked, *, is_changed: bool = False) -> BatchFindings:
    file = asked.request.file
    mistakes: dict[str, list[str]] = {}
    seen = None
    try:
        seen = preview(desk.here, asked.request)
        if seen.refusal is not None:
            name = "batch_max_cost" if "--max-cost" in seen.refusal else "batch_name"
            mistakes[name] = [for_people(seen.refusal)]
    except (RequestInvalid, ConfigurationError) as error:
        mistakes["file"] = [for_people(str(error))]
    return BatchFindings(
        mistakes=mistakes,
        digest=asked.digest,
        filename=file.name,
        preview=seen,
        sheet=file.sheet,
        sheets=(file.sheet, *file.other_sheets) if file.sheet and file.other_sheets else (),
        is_changed=is_changed,
    )


@contextmanager
def _asked(desk: Desk) -> Iterator[_Asked]:
    """Yield what the form requests, with the rows in a private copy. Raises _Wrong."""
    form = request.form
    given = request.files.get("file")
    if given is None or not given.filename:
        raise _Wrong("file", "choose a batch file: CSV, XLSX, JSONL, JSON or text")
    filename = PurePath(given.filename).name
    pictures = {one.filename: one.stream for one in request.files.getlist("pictures") if one.filename}
    with _opened(filename, given.stream, form.get("sheet") or None) as file:
        decided = [file.sha256, filename, *_values(form, _DECIDING), *_digests(pictures)]
        yield _Asked(
            request=_request(file, form, EnclosedFiles(desk.here, pictures)),
            digest=hashlib.sha256("\0".join(decided).encode("utf-8", "surrogatepass")).hexdigest(),
        )


@contextmanager
def _opened(filename: str, stream: IO[bytes], sheet: str | None) -> Iterator[BatchFile]:
    try:
        file = open_batch_file(filename, cast("BinaryIO", stream), sheet)
    except RequestInvalid as error:
        raise _Wrong("file", str(error)) from error
    with file:
        yield file


def _request(file: BatchFile, form: MultiDict[str, str], files: EnclosedFiles) -> BatchRequest:
    texts = dict(zip((*_DECIDING, *_OTHERS), _values(form, (*_DECIDING, *_OTHERS)), strict=True))
    try:
        providers = read_providers(texts["batch_provider"] or DEFAULT_PROVIDER)
    except (ConfigurationError, RequestInvalid) as error:
        raise _Wrong("batch_provider", str(error)) from error
    max_cost = read_amount(texts["batch_max_cost"]) if texts["batch_max_cost"] else None
    if texts["batch_max_cost"] and not max_cost:
        raise _Wrong("batch_max_cost", "enter an amount such as 2.50")
    try:
        priority = int(texts["batch_priority"] or "0")
    except ValueError:
        raise _Wrong("batch_priority", "enter a whole number, such as 10") from None
    return BatchRequest(
        file=file,
        name=texts["batch_name"] or PurePath(file.name).stem,
        template=texts["batch_template"] or None,
        providers=providers,
        defaults=Defaults(
            provider=providers[0],
            recipe=texts["batch_recipe"] or None,
            priority=priority,
            files=files,
            created_by=author(),
        ),
        start_at=_start(texts["batch_start"], texts["offset"]),
        max_cost=max_cost,
        new_version="new_version" in form,
        skip_invalid="skip_invalid" in form,
        is_test="is_test" in form,
    )


def _start(text: str, offset: str) -> datetime | None:
    """`offset`: minutes from the reader's clock to UTC; without it, the time is UTC."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(minutes=int(offset or "0"))
    except (ValueError, OverflowError):
        raise _Wrong("batch_start", "enter a day and a time, such as 2026-12-01T18:00") from None


def _values(form: MultiDict[str, str], names: tuple[str, ...]) -> list[str]:
    return [form.get(name, "").strip() for name in names]


def _digests(pictures: Mapping[str, IO[bytes]]) -> Iterator[str]:
    for name, stream in sorted(pictures.items()):
        digest = hashlib.sha256()
        stream.seek(0)
        while piece := stream.read(_PIECE):
            digest.update(piece)
        yield f"{name}\0{digest.hexdigest()}"


def _answer(desk: Desk, findings: BatchFindings, status: int = 200) -> ResponseBase:
    facts = {"batch": findings, "mistakes": findings.mistakes, "most_listed": _MOST_LISTED, "batch_fields": FIELDS}
    if "HX-Request" in request.headers:
        page = render_template("console/batch_findings.html", is_fragment=True, person=g.person, **facts)
        return make_response(page, status)
    return make_response(batch_page(desk, facts), status)
