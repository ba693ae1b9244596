"""Batches in requests and answers of the API."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, RootModel

from tasks.usecases.batch_file import EXPAND_LIMIT, MAX_SUBMISSIONS
from tasks.usecases.batches.results import LONGEST_LINKS
from tasks.usecases.batches.show import BatchState
from tasks.usecases.entry import FIRST
from tasks.usecases.entry_check import DEFAULT_PROVIDER
from webhook.api.models.base import Document, Page, Repeated, RequestModel
from webhook.api.models.generations import Notify, Priority
from worker.failures import Category
from worker.generation import State


def _operation(word: str) -> str:
    if word not in FIRST:
        raise ValueError(f"expected one of {', '.join(FIRST)}")
    return word


def _only(category: Category) -> Category:
    if category is Category.UNCONFIRMED:
        raise ValueError("unconfirmed generations may be paid for: a person decides with `darkroom resolve`")
    return category


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time that has a date in UTC as well") from None


FirstOperation = Annotated[str, AfterValidator(_operation), Field(json_schema_extra={"enum": list(FIRST)})]
Amount = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=6, examples=["12.50"])]
Start = Annotated[AwareDatetime, AfterValidator(_in_utc), Field(examples=["2026-12-01T18:00:00Z"])]
InFlight = Annotated[int, Field(ge=1, le=1_000_000)]
IsTest = Annotated[bool, Field(description="Whether the sandbox makes its generations, free of charge.")]


class BatchOptions(RequestModel):
    """Options for all rows and for the batch, as in `darkroom batch submit`."""

    template: Annotated[
        str | None,
        Field(description="Prompt for all rows: {column} is filled in, and {red, blue} makes one prompt for each."),
    ] = None
    provider: Annotated[
        str, Field(description="Providers in order of preference, separated by commas.", examples=["kie,acedata"])
    ] = DEFAULT_PROVIDER
    operation: Annotated[FirstOperation, Field(description="For rows without one.")] = "imagine"
    recipe: Annotated[
        str | None, Field(min_length=1, max_length=63, description="Recipe for rows without one.", examples=["shop"])
    ] = None
    follow_up: Annotated[str, Field(description="Follow-up actions.", examples=["upscale1,upscale3"])] = ""
    priority: Priority = 0
    expand_limit: Annotated[int, Field(ge=1, description="The most generations that one row may make.")] = EXPAND_LIMIT
    max_submissions: Annotated[
        int, Field(ge=1, le=MAX_SUBMISSIONS, description="The most generations that all rows together may make.")
    ] = MAX_SUBMISSIONS
    start_at: Annotated[Start | None, Field(description="Submit nothing before this time.")] = None
    max_cost: Annotated[
        Annotated[Amount, Field(gt=0)] | None,
        Field(description="The most that the batch may cost, in the currency of the price file."),
    ] = None
    max_in_flight: Annotated[InFlight | None, Field(description="The most that may be at providers at once.")] = None
    new_version: Annotated[bool, Field(description="Submit rows that have changed since as new versions.")] = False
    skip_invalid: Annotated[bool, Field(description="If some rows are invalid, submit the others.")] = False
    dry_run: Annotated[bool, Field(description="Check all rows, and write nothing.")] = False
    notify: Annotated[
        Notify, Field(description="Address that receives the events of a new batch, signed like webhooks.")
    ] = None


class NewBatch(BatchOptions):
    """A batch in JSON."""

    name: Annotated[str, Field(min_length=1, description="Identifies the batch; keys are unique within it.")]
    generations: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            description="Rows as in a batch file: flat, or with `custom_id` and `body` as in OpenAI batches.",
            examples=[[{"key": "sku-1", "prompt": "a lighthouse", "aspect_ratio": "16:9"}]],
        ),
    ]
    options: Annotated[
        dict[str, Any], Field(default_factory=dict, description="For rows without a value of their own.")
    ]
    labels: Annotated[
        dict[str, str],
        Field(default_factory=dict, description="Your own names and values.", examples=[{"client": "acme"}]),
    ]


class NewBatchFile(BatchOptions):
    """Options for a batch file."""

    name: Annotated[
        str | None,
        Field(description="Name of the batch; default: the filename in Content-Disposition, without its extension."),
    ] = None
    sheet: Annotated[str | None, Field(description="Sheet of a spreadsheet; default: the first one.")] = None
    option: Annotated[
        Repeated,
        Field(
            default_factory=list,
            description="As `name:value`, for rows without a value of their own; may be repeated.",
            examples=[["version:8.1"]],
        ),
    ]
    label: Annotated[
        Repeated,
        Field(default_factory=list, description="As `name:value`; may be repeated.", examples=[["client:acme"]]),
    ]


class SameFile(Document):
    batch: str
    name: str


class BatchSubmittedDocument(Document):
    """The result of submitting a batch."""

    batch: Annotated[str | None, Field(description="The batch's id; null if nothing was written.")]
    name: str
    rows: int
    created: Annotated[int, Field(description="New generations; a row may make several.")]
    existing: Annotated[int, Field(description="Generations that already existed.")]
    invalid: Annotated[int, Field(description="Rows that were not submitted.")]
    new_versions: int
    not_applied: Annotated[
        list[str], Field(description="Options that were not applied to what exists: the batch, or some of its rows.")
    ]
    same_file_as: list[SameFile]
    warnings: list[str]
    waits: Annotated[list[str], Field(description="Why some generations are not submitted yet.")]
    dry_run: bool
    test: IsTest


class BatchCost(Document):
    amount: str
    follow_ups: Annotated[str, Field(description="The most that follow-ups may cost.")]
    currency: str
    providers: dict[str, str]
    unpriced: int
    assumed: int


class NeededBudget(Document):
    budget: str
    name: str | None
    cap: str
    left: str
    needed: str
    enough: bool


class Reason(Document):
    message: str
    rows: int


class CheckedProvider(Document):
    provider: str
    submissions: int
    alternative: int
    cannot: list[Reason]


class FaultDocument(Document):
    """What is wrong with a row. `line` and `row` count from 1."""

    line: int | None
    column: str | int | None
    value: str | None
    message: str
    row: int | None


class BatchCheckDocument(Document):
    """The result of `dry_run`: everything wrong with the rows, and what they cost."""

    file: str
    format: str
    sheet: str | None
    sha256: str
    columns: list[str]
    rows: int
    invalid: int
    submissions: int
    cost: BatchCost | None
    budgets: list[NeededBudget]
    providers: list[CheckedProvider]
    errors: list[FaultDocument]
    more_errors: int
    warnings: list[str]
    more_warnings: int


class BatchAnswer(RootModel[BatchSubmittedDocument | BatchCheckDocument]):
    """With `dry_run`, a check; otherwise a batch to which nothing was added, or the answer to an earlier request."""

    model_config = ConfigDict(defer_build=True)


class Spend(Document):
    known: str
    possible: str
    reserved: str
    total: str


class BatchDocument(Document):
    """One batch in a list."""

    id: str
    name: str
    test: IsTest
    state: BatchState
    source: str | None
    source_sha256: str | None
    created_at: str
    completed_at: str | None
    total: int
    done: int
    counts: dict[State, int]
    spend: Spend
    paused_at: str | None
    start_at: str | None
    max_cost: str | None
    max_in_flight: int | None


class FailureDocument(Document):
    state: State
    reason: str | None
    number: int


class WaitDocument(Document):
    cause: str
    subject: str
    told: str
    remedy: str


class BatchDetailsDocument(BatchDocument):
    """One batch in detail."""

    currency: str | None
    cap: str | None
    per_minute: float
    eta_seconds: int | None
    at_risk: Annotated[int, Field(description="Results whose links may expire before they are stored.")]
    decisions: Annotated[int, Field(description="Pending approvals: `GET /v1/approvals` lists them.")]
    failures: list[FailureDocument]
    waits_for: list[WaitDocument]


class BatchPage(Document):
    """A page of batches, newest first."""

    data: list[BatchDocument]
    next: Annotated[str | None, Field(description="`after` of the next page; null on the last one.")]


class BatchesQuery(Page):
    """Which page."""

    ids = "batch"


class ResultsQuery(RequestModel):
    """The format of the results."""

    format: Annotated[
        Literal["csv", "jsonl", "json", "xlsx"], Field(description="`json` is not available for failing rows.")
    ] = "jsonl"
    errors: Annotated[
        bool, Field(description="Only failing rows, as a file to correct and submit again; not as json.")
    ] = False
    links: Annotated[
        int | None,
        Field(
            ge=60,
            le=int(LONGEST_LINKS.total_seconds()),
            description="Add links that work for this many seconds; default: no links.",
        ),
    ] = None


class BatchRetry(RequestModel):
    """Which failures are retried."""

    only: Annotated[
        list[Annotated[Category, AfterValidator(_only)]],
        Field(default_factory=list, description="Only failures for these reasons; default: all."),
    ]
    may_pay_twice: Annotated[
        bool, Field(description="Also retry those that the provider may still deliver and charge for.")
    ] = False


class BatchRetriedDocument(Document):
    """What a retry did. `left`: how many were left alone, by reason."""

    batch: str
    retried: int
    done: dict[State, int]
    left: dict[str, int]
    sent_before: Annotated[
        bool,
        Field(description="The same request was interrupted earlier and may have retried more than is counted here."),
    ]


class NewPriority(RequestModel):
    """The priority of the queued generations."""

    priority: Priority


class NewLimits(RequestModel):
    """Limits to change; omitted ones stay, and null removes a limit."""

    start_at: Annotated[Start | None, Field(description="Submit nothing before this time.")] = None
    max_cost: Annotated[Amount | None, Field(description="The most that the batch may cost.")] = None
    max_in_flight: Annotated[InFlight | None, Field(description="The most that may be at providers at once.")] = None


class SteeredDocument(Document):
    """The batch after a change. `done`: generations that were changed; `left`: those that were not, by reason."""

    batch: str
    name: str
    action: str
    changed: bool
    done: dict[str, int]
    left: dict[str, int]
    under_way: int
    paused_at: str | None
    start_at: str | None
    max_cost: str | None
    max_in_flight: int | None
    notes: list[str]
