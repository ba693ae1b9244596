"""Submits a file as a batch: each row once, however often and wherever the command is interrupted and repeated."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from tasks.usecases.batch_file import MAX_SUBMISSIONS, Counted
from tasks.usecases.batches.check import BatchCheck, RowsInvalid, check_batch
from tasks.usecases.batches.plan import Plan, plan
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.entry import LONGEST_BATCH
from tasks.usecases.names import batch_name
from tasks.usecases.notify_address import notify_address
from tasks.usecases.submission import Patience, waits_of_new
from worker.errors import ConfigurationError, RequestInvalid
from worker.ledger.generations import BatchFacts, FileBatch, NewGeneration
from worker.services import Services

#: how many earlier batches of the same file, and how many mistakes, are listed
_NAMED, _SHOWN = 3, 10
#: control characters, and Python's form of bytes that are not UTF-8; the ledger would store a different name
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmitted:
    """`rows` and `invalid`: of the file; `created` and `existing`: submissions, of which a row may be several.

    `batch_id`: None if nothing was written, because no row was valid or in a dry run. `ids`: of the generations, in the
    order of the file. `versions`: how many of the new are new versions of rows. `unapplied`: options that existing rows
    do not have. `same_file`: other batches of the same file. `warnings`: about the rows. `waits`: why some of it is not
    submitted yet.
    """

    name: str
    batch_id: str | None
    rows: int
    created: int
    existing: int
    invalid: int
    versions: int = 0
    ids: tuple[str, ...] = ()
    new_ids: frozenset[str] = frozenset()
    unapplied: tuple[str, ...] = ()
    same_file: tuple[BatchFacts, ...] = ()
    warnings: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    is_dry_run: bool = False
    is_test: bool = False


def submit_file(
    services: Services,
    request: BatchRequest,
    *,
    max_submissions: int = MAX_SUBMISSIONS,
    counted: Callable[[Counted], None] = lambda _: None,
    checked: Callable[[BatchCheck], None] = lambda _: None,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> BatchSubmitted:
    """Check the whole file, then write its new rows.

    `counted` gets the number of rows before they are checked; `checked` what was found, before anything is written.
    Raises as `check_batch` and `submit_batch` do, and RowsInvalid if rows are invalid, unless the request says to
    submit the others anyway.
    """
    name_of(request)
    wanted: list[NewGeneration] = []
    found = check_batch(services, request, max_submissions=max_submissions, counted=counted, take=wanted.append)
    checked(found)
    if found.errors and not request.skip_invalid:
        raise RowsInvalid(_refusal(request, found), found)
    invalid = {fault.row for fault in found.errors}
    result = submit_batch(
        services,
        request,
        # A row is also invalid if only one of its template's entries is.
        [one for one in wanted if one.row_number not in invalid],
        rows=found.rows,
        invalid=found.invalid,
        dry_run=dry_run,
        tell=tell,
    )
    short = found.estimate.shortages if found.estimate and result.created else ()
    return replace(result, warnings=found.warnings, waits=(*result.waits, *short))


def _refusal(request: BatchRequest, found: BatchCheck) -> str:
    shown = [f"  {fault.sentence(request.file.name)}" for fault in found.errors[:_SHOWN]]
    more = len(found.errors) - _SHOWN
    return "\n".join([
        f"{found.invalid:,} of {found.rows:,} rows {'is' if found.invalid == 1 else 'are'} invalid:",
        *shown,
        *([f"  … and {more:,} more"] if more > 0 else []),
        "nothing was written: correct them (`darkroom batch check` shows all), or add --skip-invalid for the others",
    ])  # fmt: skip


def name_of(request: BatchRequest) -> str:
    """Return the name by which the batch is found. Raises RequestInvalid without one."""
    name = PurePath(request.file.name).stem if request.name is None else request.name
    return unique_name(name, is_test=request.is_test)


def unique_name(name: str, *, is_test: bool) -> str:
    """Return the name by which a batch of this name is found. Raises RequestInvalid for an impossible name."""
    if not name.strip():
        raise RequestInvalid("the name of the batch is empty: give one with --name")
    if len(name) > LONGEST_BATCH:
        raise RequestInvalid(
            f"the name of the batch has more than {LONGEST_BATCH} characters: give another with --name"
        )
    if _UNUSABLE.search(name):
        raise RequestInvalid(
            f"the name of the batch, {name!r}, contains control characters or is not valid UTF-8: give another with "
            "--name"
        )
    return batch_name(name, is_test=is_test)


def submit_batch(
    services: Services,
    request: BatchRequest,
    wanted: Sequence[NewGeneration],
    *,
    rows: int,
    invalid: int = 0,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> BatchSubmitted:
    """Write the new ones of the checked rows `wanted` to the batch of this name; in a dry run, write nothing.

    `rows` and `invalid`: how many rows the file has, and how many of them are not among `wanted`. `tell`: messages for
    the waiting user. Raises RequestInvalid if rows were changed, or for `notify`, LedgerUnavailable if nothing was
    written, and CommitUnknown if something may have been: the same request completes it.
    """
    name = name_of(request)
    settings = _settings(services, request, name)
    generations = services.ledger.generations
    same_file = tuple(
        one for one in generations.batches_of_file(request.file.sha256, _NAMED + 1) if one.unique_name != name
    )[:_NAMED]
    submitted = BatchSubmitted(
        name=name, batch_id=None, rows=rows, created=0, existing=0, invalid=invalid, same_file=same_file,
        is_test=request.is_test,
    )  # fmt: skip
    if dry_run:
        found = plan(services.ledger, name, wanted, request, counts_only=True)
        return replace(_counted(submitted, found), created=len(wanted) - len(found.existing), is_dry_run=True)
    is_begun = False

    def once() -> BatchSubmitted:
        nonlocal is_begun
        found = plan(services.ledger, name, wanted, request)
        if not found.new:
            return replace(_counted(submitted, found), ids=tuple(found.existing.values()))
        if request.defaults.files is not None:
            request.defaults.files.store()
        is_begun = True
        written = generations.write_rows(replace(settings, id=found.batch and found.batch.id), found.new)
        new_ids = iter(written.ids[str(one.dedupe)] for one in found.new)
        ids = tuple(found.existing.get(position) or next(new_ids) for position in range(len(wanted)))
        # Another process may have written some of them concurrently.
        created = len(written.created)
        return replace(
            _counted(submitted, found), batch_id=written.batch_id, ids=ids, new_ids=written.created, created=created,
            existing=len(wanted) - created,
        )  # fmt: skip

    patience = Patience(tell=tell, go_on=lambda: _GO_ON, forget=lambda: None)
    try:
        result = patience.write(once, lambda: is_begun)
    except KeyboardInterrupt:
        tell(f"interrupted: {_GO_ON if is_begun else 'nothing was written'}")
        raise
    return replace(result, waits=waits_of_new(services, wanted))


_GO_ON = "it may have been written in part: repeat this to complete it; no row is submitted twice"


def _counted(submitted: BatchSubmitted, found: Plan) -> BatchSubmitted:
    return replace(
        submitted,
        batch_id=found.batch and found.batch.id,
        existing=len(found.existing),
        versions=found.versions,
        unapplied=found.unapplied,
    )


def _settings(services: Services, request: BatchRequest, name: str) -> FileBatch:
    """Return the batch's settings.

    Raises ConfigurationError for a maximum cost without prices, RequestInvalid for an unusable `notify`.
    """
    if request.max_cost is not None and services.prices is None:
        raise ConfigurationError("--max-cost needs prices: name a price file in DARKROOM_PRICES")
    return FileBatch(
        name=name,
        source=PurePath(request.file.name).name,
        source_sha256=request.file.sha256,
        start_at=request.start_at,
        max_cost=request.max_cost,
        max_in_flight=request.max_in_flight,
        notify=notify_address(services.settings, request.notify),
    )
