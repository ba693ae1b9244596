"""The rows of a batch as HTTP delivers them: a file as the body, or rows in JSON."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any, Literal

from werkzeug.http import parse_options_header

from tasks.usecases.batch_file import BatchFile, Fault, open_batch_file
from tasks.usecases.batches.check import BatchCheck
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.entry_check import Defaults
from tasks.usecases.inputs import UploadedFiles, image_options
from tasks.usecases.labels import check_labels
from tasks.usecases.notify_address import notify_address
from tasks.usecases.provider_choice import read_providers
from webhook.api.amounts import millionths
from webhook.api.call import Call, Refused
from webhook.api.models.batches import BatchOptions, NewBatch, NewBatchFile
from webhook.api.reading import pointer, refused_at
from webhook.bodies import LARGEST_FILE, reading
from webhook.body import open_body
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import Operation

#: mistakes that one answer lists
MOST_ERRORS = 1000
#: how many of the first ones the detail names
_TOLD = 3
_INVALID = "the request is invalid"
_LINK = re.compile(r"(https?://|data:)", re.IGNORECASE)


@contextmanager
def batch_rows(call: Call, asked: NewBatchFile, body: NewBatch | None) -> Iterator[tuple[str, BatchFile]]:
    """Yield the name of the batch, and its rows in a private copy. Raises Refused, and as `open_batch_file` does."""
    if body is None:
        with _file_in_body(call, asked) as (name, file):
            yield name, file
        return
    if call.request.args:
        misplaced = [{"parameter": name, "detail": "with JSON, it belongs in the body"} for name in call.request.args]
        raise refused_at(_INVALID, misplaced)
    # One line each, so that mistakes name their row.
    rows = io.BytesIO("".join(f"{json.dumps(row)}\n" for row in body.generations).encode())
    with open_batch_file("generations", rows, media_type="application/jsonl") as file:
        yield body.name, file


def batch_request(call: Call, name: str, file: BatchFile, asked: NewBatchFile, body: NewBatch | None) -> BatchRequest:
    """Return the request for these rows. Raises Refused, also for what the current setup of Darkroom does not allow."""
    if body is None:
        options, labels = _read_pairs(asked)
        return _request(call, file, name, asked, options=options, labels=labels)
    return _request(call, file, name, body, options=body.options, labels=body.labels)


@contextmanager
def _file_in_body(call: Call, asked: NewBatchFile) -> Iterator[tuple[str, BatchFile]]:
    """Yield the name of the batch, and the file."""
    _, disposition = parse_options_header(call.request.headers.get("Content-Disposition"))
    filename = PurePath(disposition.get("filename", "")).name
    name = PurePath(filename).stem if asked.name is None else asked.name
    if not name:
        missing = "the batch needs a name: add ?name=NAME, or send the file name as Content-Disposition"
        raise _invalid("name", f'{missing}: attachment; filename="NAME.csv"', asked)
    environ = call.request.environ
    if "Transfer-Encoding" in call.request.headers:
        raise Refused(
            "the file is sent in chunks, so a complete file looks the same as a truncated one: send it with "
            "Content-Length",
            status=411,
            code="length_required",
        )
    with ExitStack() as opened:
        with reading(environ), open_body(environ, LARGEST_FILE) as body:
            kind = call.request.mimetype
            file = opened.enter_context(open_batch_file(filename or name, body, asked.sheet, media_type=kind))
        yield name, file


def _request(
    call: Call,
    file: BatchFile,
    name: str,
    asked: BatchOptions,
    *,
    options: Mapping[str, Any],
    labels: Mapping[str, str],
) -> BatchRequest:
    try:
        providers = read_providers(asked.provider)
    except (ConfigurationError, RequestInvalid) as error:
        raise _invalid("provider", str(error), asked) from error
    try:
        check_labels(labels)
    except RequestInvalid as error:
        raise _invalid("labels" if isinstance(asked, NewBatch) else "label", str(error), asked) from error
    try:
        notify_address(call.here.settings, asked.notify)
    except RequestInvalid as error:
        raise _invalid("notify", str(error), asked) from error
    return BatchRequest(
        file=file,
        name=name,
        template=asked.template,
        providers=providers,
        defaults=Defaults(
            created_by=call.caller.by,
            provider=providers[0],
            operation=Operation(asked.operation),
            options=options,
            follow_up=asked.follow_up,
            recipe=asked.recipe,
            priority=asked.priority,
            labels=labels,
            # Never `InputFiles`: a caller must not be able to name files on this machine.
            files=UploadedFiles(call.here),
        ),
        start_at=asked.start_at,
        max_cost=millionths(asked.max_cost),
        max_in_flight=asked.max_in_flight,
        new_version=asked.new_version,
        skip_invalid=asked.skip_invalid,
        expand_limit=asked.expand_limit,
        is_test=call.caller.is_test,
        notify=asked.notify,
    )


def _read_pairs(asked: NewBatchFile) -> tuple[dict[str, Any], dict[str, str]]:
    """The options and labels of a query string."""
    options: dict[str, Any] = {}
    for name, value in _pairs("option", asked):
        if name in image_options():
            options[name] = [*options.get(name, ()), *(value.split() if _LINK.match(value) else [value])]
        elif name in options:
            raise _invalid("option", f"{name} is given twice", asked)
        else:
            options[name] = value
    labels: dict[str, str] = {}
    for name, value in _pairs("label", asked):
        if name in labels:
            raise _invalid("label", f"{name} is given twice", asked)
        labels[name] = value
    return options, labels


def _pairs(parameter: Literal["option", "label"], asked: NewBatchFile) -> Iterator[tuple[str, str]]:
    for text in getattr(asked, parameter):
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not colon or not name:
            raise _invalid(parameter, f"{text!r} is not of the form name:value", asked)
        yield name, value


def _invalid(name: str, detail: str, asked: BatchOptions) -> Refused:
    where = {"pointer": f"/{name}"} if isinstance(asked, NewBatch) else {"parameter": name}
    return refused_at(_INVALID, [{**where, "detail": detail}])


def rows_refused(found: BatchCheck, body: NewBatch | None) -> Refused:
    """Return the refusal of invalid rows. Each mistake has its place: line and column, or a pointer into the JSON."""
    errors = tuple(_mistake(fault, body) for fault in found.errors[:MOST_ERRORS])
    said = "; ".join(f"{_place(one)}: {one['detail']}" for one in errors[:_TOLD])
    more = f"; and {len(found.errors) - _TOLD:,} more" if len(found.errors) > _TOLD else ""
    return Refused(
        f"{found.invalid:,} of {found.rows:,} rows {'is' if found.invalid == 1 else 'are'} invalid, so nothing was "
        f"written: correct them, or add skip_invalid=true to submit the others: {said}{more}",
        status=422,
        code="rows_invalid",
        errors=errors,
        more_errors=len(found.errors) - len(errors),
    )


def _mistake(fault: Fault, body: NewBatch | None) -> Mapping[str, Any]:
    value = {} if fault.value is None else {"value": fault.value}
    if body is not None and fault.line is not None:
        return {"pointer": _pointer(body.generations, fault), **value, "detail": fault.message}
    line = {} if fault.line is None else {"line": fault.line}
    column = {} if fault.column is None else {"column": str(fault.column)}
    return {**line, **column, **value, "detail": fault.message}


def _pointer(rows: Sequence[Mapping[str, Any]], fault: Fault) -> str:
    index = (fault.line or 1) - 1
    row, path = rows[index], list[str | int]()
    for part in ("body", "options"):
        if fault.column not in row and isinstance(inner := row.get(part), dict):
            path.append(part)
            row = inner
    # Otherwise something is missing, or the mistake concerns the whole row.
    is_there = isinstance(fault.column, str) and fault.column in row
    return pointer(["generations", index, *([*path, str(fault.column)] if is_there else ())])


def _place(mistake: Mapping[str, Any]) -> str:
    if "pointer" in mistake:
        return str(mistake["pointer"])
    parts = (f"{name} {mistake[name]}" for name in ("line", "column") if name in mistake)
    return ", ".join(parts) or "the file"
