"""Exports a batch: every row in the user's order, with their columns, results, costs and reasons."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any, NamedTuple, Protocol

from tasks.usecases.batch_file import CHOICE
from tasks.usecases.batches.results.contact_sheet import ContactSheet
from tasks.usecases.batches.results.document import document_of
from tasks.usecases.batches.results.failing_rows import FailingRows
from tasks.usecases.batches.results.tables import Column, columns_of
from tasks.usecases.batches.results.thumbnails import Thumbnails
from tasks.usecases.batches.results.writers import CsvTable, Format, JsonArray, JsonLines, TableWriter, XlsxTable
from tasks.usecases.names import find_batch
from worker.errors import RequestInvalid
from worker.failures import REMEDIES, category_of
from worker.generation import AssetState, iso
from worker.ledger.generations import BatchResult
from worker.services import Services

#: the longest that S3 signs links for
LONGEST_LINKS = timedelta(days=7)


class _Batch(NamedTuple):
    id: str
    name: str


#: shows progress: takes the number of generations, yields the function to call after each
Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class Output:
    """One output. `mark`: begin a CSV file with a byte order mark, by which Excel recognizes UTF-8."""

    format: Format
    stream: IO[bytes]
    mark: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsRequest:
    """`batch`: its name or id. `links`: how long links to the results work; None for no links. `errors`: failing rows.

    `thumbnails_within`: the time for a contact sheet's thumbnails; None: unlimited. Raises RequestInvalid
    for links that last longer than S3 allows.
    """

    batch: str
    outputs: Sequence[Output] = ()
    errors: Output | None = None
    links: timedelta | None = None
    thumbnails_within: timedelta | None = None

    def __post_init__(self) -> None:
        if self.links is not None and self.links > LONGEST_LINKS:
            raise RequestInvalid(f"links work for at most {LONGEST_LINKS.days} days: S3 does not sign links for longer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """`failing`: rows in the file of failing rows, without `failed_follow_ups`, which are not the user's rows.

    `links_expire_at`: None without links. `without_thumbnail`: images without a thumbnail in the contact sheet.
    """

    batch_id: str
    batch: str
    generations: int
    failing: int
    failed_follow_ups: int
    links_expire_at: datetime | None
    without_thumbnail: int


class _Sink(Protocol):
    def add(self, document: Mapping[str, Any], one: BatchResult) -> None: ...
    def close(self) -> None: ...


class _Documents:
    def __init__(self, writer: JsonLines | JsonArray) -> None:
        self._writer = writer
        self.close = writer.close

    def add(self, document: Mapping[str, Any], one: BatchResult) -> None:  # noqa: ARG002 - the document says all
        self._writer.add(document)


class _Rows:
    def __init__(self, table: TableWriter, columns: Sequence[Column]) -> None:
        self._table, self._columns = table, columns
        self.close = table.close

    def add(self, document: Mapping[str, Any], one: BatchResult) -> None:  # noqa: ARG002 - the document says all
        self._table.add([column.read(document) for column in self._columns])


def export_results(
    here: Services, request: ResultsRequest, progress: Progress = lambda _: nullcontext(lambda: None)
) -> Exported:
    """Write all outputs in one pass. Raises as `find_batch` does; ArchiveError or ConfigurationError for the bucket."""
    batch_id = find_batch(here.ledger, request.batch)
    name = here.ledger.assets.batch_names([batch_id])[batch_id]
    counts = here.ledger.generations.counts(batch_id)
    expires_at = None if request.links is None else here.clock() + request.links
    number = 0
    with ExitStack() as closing:
        failing = None
        if request.errors is not None:
            failing = closing.enter_context(FailingRows(request.errors.stream, request.errors.format))
        thumbnails = None
        if any(output.format is Format.HTML for output in request.outputs):
            here.archive.check()
            thumbnails = closing.enter_context(Thumbnails(here.archive, request.thumbnails_within))
        sinks = _sinks(here, request, _Batch(batch_id, name), thumbnails)
        with progress(sum(counts.values())) as tick:
            for one in here.ledger.generations.results(batch_id):
                category = category_of(one.generation.state, one.generation.reason, one.generation.message)
                remedy = category and REMEDIES[category]
                if sinks:
                    links = {} if request.links is None else _links(here, one, request.links)
                    document = document_of(one, category, links, iso(expires_at))
                    for sink in sinks:
                        sink.add(document, one)
                if failing is not None:
                    failing.add(one, remedy)
                number += 1
                tick()
            for sink in sinks:
                sink.close()
        if failing is not None:
            failing.write()
    return Exported(
        batch_id=batch_id,
        batch=name,
        generations=number,
        failing=0 if failing is None else failing.count,
        failed_follow_ups=0 if failing is None else failing.follow_ups,
        links_expire_at=expires_at,
        without_thumbnail=0 if thumbnails is None else thumbnails.left_out,
    )


def _sinks(here: Services, request: ResultsRequest, batch: _Batch, thumbnails: Thumbnails | None) -> list[_Sink]:
    columns: list[Column] = []
    if any(output.format in {Format.CSV, Format.XLSX} for output in request.outputs):
        found = here.ledger.generations.result_columns(batch.id)
        columns = columns_of(found, CHOICE, has_links=request.links is not None)
    titles = [column.title for column in columns]
    sinks: list[_Sink] = []
    for output in request.outputs:
        if output.format is Format.CSV:
            sinks.append(_Rows(CsvTable(output.stream, titles, mark=output.mark), columns))
        elif output.format is Format.XLSX:
            links = [column.is_link for column in columns]
            sinks.append(_Rows(XlsxTable(output.stream, titles, links), columns))
        elif output.format is Format.JSONL:
            sinks.append(_Documents(JsonLines(output.stream)))
        elif output.format is Format.JSON:
            sinks.append(_Documents(JsonArray(output.stream)))
        elif thumbnails is not None:
            about, counts = _about(here, request, batch), here.ledger.generations.counts(batch.id)
            sinks.append(ContactSheet(output.stream, batch.name, about, counts, thumbnails))
    return sinks


def _about(here: Services, request: ResultsRequest, batch: _Batch) -> str:
    now = here.clock()
    about = f"Batch {batch.id}, as of {now:%Y-%m-%d %H:%M} UTC"
    return about if request.links is None else f"{about}; links work until {now + request.links:%Y-%m-%d %H:%M} UTC"


def _links(here: Services, one: BatchResult, span: timedelta) -> dict[int, str]:
    stored = [asset for asset in one.assets if asset.state is AssetState.STORED and asset.object_key]
    return {asset.index: here.archive.url(str(asset.object_key), expires=span) for asset in stored}
