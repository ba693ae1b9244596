"""The `data` of each event. The docstring of a class says when its event is sent."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.failures import Category
from worker.generation import AssetKind, Operation, State


def as_published(schema: dict[str, Any]) -> None:
    """Omit fields without a value, which are never null, and allow new fields, for which readers must be prepared."""
    del schema["additionalProperties"]
    for field in schema["properties"].values():
        if field.pop("default", 0) is None:
            (kind,) = (one for one in field.pop("anyOf") if one != {"type": "null"})
            field.update(kind)


def _text(description: str, example: str) -> Any:
    return Field(description=description, examples=[example])


_GENERATION = "gen_01a22359182c000000000f2b6c1e4a77"
AMOUNT = r"^\d+(\.\d+)?$"
Amount = Annotated[str, Field(pattern=AMOUNT)]
GenerationId = Annotated[str, Field(pattern="^gen_"), _text("Id of the generation.", _GENERATION)]
ObjectKey = Annotated[str | None, _text("Key of the object in the bucket.", "2026/11/21/spring/sku-0042/0.png")]
Bucket = Annotated[str | None, _text("The bucket that has the object.", "acme-images")]
Currency = Annotated[str | None, _text("Currency of the amounts.", "USD")]
By = Annotated[str | None, _text("Who decided.", "maria")]
Why = Annotated[str | None, _text("Why, in their own words; may be empty.", "the client asked for it")]
TaskId = Annotated[str | None, _text("The provider's id of the task.", "5f1c2b3a-0d7e-4c55-9a3b-2f60f4c1d111")]
Index = Annotated[int | None, Field(ge=0, description="Index among the generation's results.", examples=[0])]
Provider = Annotated[str, _text("The provider.", "acedata")]
Account = Annotated[str, _text("The account: one key of the provider.", "default")]
Until = Annotated[datetime | None, _text("When it ends automatically.", "2026-11-21T12:15:00.000Z")]


class Part(BaseModel):
    # Descriptions, which nothing validates at run time: their validators would take 3 MB of the API.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, json_schema_extra=as_published)


class OfBatch(Part):
    """The batch of any event that has one."""

    batch_id: Annotated[
        str | None, Field(pattern="^batch_"), _text("Id of its batch.", "batch_01a22359182c000000000e5d3a90c2b1")
    ] = None
    batch: Annotated[str | None, _text("Name of its batch.", "spring")] = None
    test: Annotated[
        Literal[True] | None, Field(description="Only in a test, which the sandbox makes at no cost.", examples=[True])
    ] = None


class MayHaveGeneration(OfBatch):
    """The generation of any event that has one."""

    generation_id: Annotated[str | None, Field(pattern="^gen_"), _text("Id of the generation.", _GENERATION)] = None
    key: Annotated[str | None, _text("Your own key for it.", "sku-0042")] = None
    root_key: Annotated[str | None, _text("Your key for its first ancestor; its own if it has none.", "sku-0042")] = (
        None
    )
    parent: Annotated[str | None, Field(description="For a follow-up: the id of its parent.")] = None
    action: Annotated[str | None, Field(description="For a follow-up: the action that created it.")] = None
    provider: Annotated[str | None, _text("The provider.", "acedata")] = None
    operation: Annotated[Operation | None, Field(description="What was requested.", examples=["imagine"])] = None
    labels: Annotated[dict[str, str] | None, Field(description="Its labels.", examples=[{"client": "acme"}])] = None


class OfGeneration(MayHaveGeneration):
    generation_id: GenerationId


class Failure(Part):
    """Why it failed, as one of nine categories, and what to do."""

    category: Annotated[Category, Field(examples=["moderation"])]
    remedy: Annotated[
        str, _text("What to do.", "change the prompt or the images: the same request would be refused again")
    ]


class _Failed(OfGeneration):
    reason: Annotated[str | None, _text("Why, as a code for programs.", "forbidden")] = None
    message: Annotated[str | None, _text("Why, as a sentence.", "the prompt is forbidden")] = None
    failure: Failure | None = None


class GenerationSubmitted(OfGeneration):
    """The provider accepted it."""


class GenerationProgress(OfGeneration):
    """The provider reported progress. Only with `DARKROOM_PROGRESS_EVENTS=true`, and at most every 5 seconds."""

    progress: Annotated[int | None, Field(ge=0, le=100, description="In percent.", examples=[35])] = None


class GenerationSucceeded(OfGeneration):
    """The provider finished it; its results are not stored yet."""


class StoredAsset(Part):
    index: Annotated[int, Field(ge=0, description="Index among the results.", examples=[0])]
    kind: Annotated[AssetKind, Field(examples=["image"])]
    object_key: ObjectKey = None
    content_type: Annotated[str | None, _text("Media type.", "image/png")] = None
    bytes: Annotated[int | None, Field(ge=0, description="Size of the object.", examples=[1482133])] = None


class GenerationArchived(OfGeneration):
    """All its results are in the bucket."""

    bucket: Bucket = None
    assets: Annotated[list[StoredAsset] | None, Field(description="Its results, in order.")] = None


class GenerationFailed(_Failed):
    """The provider refused it, or could not complete it."""


class GenerationUnconfirmed(_Failed):
    """The outcome of its submission is unknown."""

    reason: Annotated[str | None, _text("Why, as a code for programs.", "read_timeout")] = None
    message: Annotated[str | None, _text("Why, as a sentence.", "no answer came in time")] = None


class GenerationNeedsApproval(OfGeneration):
    """A step of its recipe waits until somebody picks images (`darkroom approve`, the API, or `link`)."""

    approval: Annotated[
        str | None, Field(pattern="^apr_"), _text("Id of the approval.", "apr_01a22359182c000000000f2b6c1e4a77")
    ] = None
    step: Annotated[str | None, _text("The step of the recipe.", "best")] = None
    images: Annotated[list[int] | None, Field(description="Numbers to choose from.", examples=[[1, 2, 3, 4]])] = None
    expires_at: Annotated[
        datetime | None, _text("When the step's `otherwise` applies.", "2026-11-24T12:00:00.000Z")
    ] = None
    link: Annotated[
        str | None,
        _text(
            "Where anybody who has the link may decide, once: a secret. Only with CONSOLE_URL; never stored.",
            "https://darkroom.example.com/approvals/apr_01a22359182c000000000f2b6c1e4a77.SIGNATURE",
        ),
    ] = None


class GenerationExpired(_Failed):
    """A link expired before the result was stored."""

    reason: Annotated[str | None, _text("Why, as a code for programs.", "link_dead")] = None
    message: Annotated[str | None, _text("Why, as a sentence.", "the link has expired")] = None


class GenerationDeleted(OfGeneration):
    """It was deleted with `darkroom delete`."""


class GenerationResolved(OfGeneration):
    """A person resolved an unconfirmed generation."""

    attempt: Annotated[str | None, _text("Id of the submission.", "4f0c9d5d8a0b4a0f8f6d0b1c2d3e4f50")] = None
    decision: Annotated[
        Literal["charged", "not charged", "resubmit"] | None,
        Field(description="What was decided.", examples=["charged"]),
    ] = None
    by: By = None
    why: Why = None
    task_id: TaskId = None


class GenerationPaidTwice(OfGeneration):
    """A person resubmitted it, and both attempts succeeded."""

    task_id: TaskId = None


class GenerationImported(OfGeneration):
    """A task was imported by `darkroom rescue` or `darkroom reconcile --confirm`."""

    task_id: TaskId = None


class _OfAsset(OfGeneration):
    index: Index = None


class AssetArchived(_OfAsset):
    """One result is in the bucket."""

    bucket: Bucket = None
    object_key: ObjectKey = None
    sha256: Annotated[str | None, _text("SHA-256 of the object.", "9f2c" * 16)] = None
    remark: Annotated[str | None, _text("What is unusual about the file.", "12 bytes after its end")] = None


class AssetAtRisk(_OfAsset):
    """Its link expires soon and it is not stored yet."""

    deadline: Annotated[datetime | None, _text("When the link expires.", "2026-11-21T14:00:00+00:00")] = None
    error: Annotated[str | None, _text("Why the last try failed.", "the link answers with status 503")] = None


class AssetExpired(_OfAsset):
    """It can no longer be fetched."""

    reason: Annotated[str | None, _text("Why, as a code for programs.", "link_dead")] = None
    error: Annotated[str | None, _text("Why, as a sentence.", "the link answers with status 404")] = None
    failure: Failure | None = None


class AssetAccepted(_OfAsset):
    """A person accepted a refused file, which is then archived unchanged."""

    by: By = None
    why: Why = None
    refused: Annotated[str | None, _text("Why it was refused.", "the PNG ends before its last chunk")] = None


class AssetRepaired(_OfAsset):
    """`darkroom verify --repair` restored its object."""

    bucket: Bucket = None
    object_key: ObjectKey = None
    found: Annotated[str | None, _text("What was wrong with the object.", "missing")] = None


class FollowUpRefused(OfGeneration):
    """A requested follow-up cannot be created. The event names the generation that it would have followed."""

    reason: Annotated[str | None, _text("Why.", "acedata offers no upscale5 for it")] = None


class FollowUpDismissed(OfGeneration):
    """A person dismissed the refused follow-up."""

    by: By = None
    why: Why = None


class Cost(Part):
    known: Annotated[Amount, _text("Amount paid.", "1.20")]
    possible: Annotated[Amount, _text("Amount that may have been paid: the outcome is unknown.", "0.00")]
    currency: Currency = None


class BatchCompleted(OfBatch):
    """All generations of a batch have finished; no follow-ups and no decisions are pending.

    Sent again when it finishes again after a late success, a retry or a new follow-up. The manifest is written a
    moment later.
    """

    completion: Annotated[
        int | None, Field(description="How many times the batch has completed; 2 or more: sent again.", examples=[1])
    ] = None

    counts: Annotated[
        dict[State, int] | None,
        Field(description="Number of generations in each state.", examples=[{"archived": 98, "failed": 2}]),
    ] = None
    cost: Annotated[Cost | None, Field(description="Only if prices are set.")] = None
    bucket: Bucket = None
    manifest: Annotated[
        str | None,
        _text("Object key of its manifest.", "manifests/spring/batch_01a22359182c000000000e5d3a90c2b1/manifest.jsonl"),
    ] = None


class BudgetExceeded(OfBatch):
    """A generation waits because it would exceed a cap; sent once per budget and day."""

    provider: Provider
    budget: Annotated[
        Literal["day", "provider", "batch", "label"], Field(description="Kind of cap.", examples=["batch"])
    ]
    day: Annotated[date, _text("The day of the cap.", "2026-11-21")]
    cap: Annotated[Amount, _text("The cap.", "20.00")]
    used: Annotated[Amount, _text("How much of it is spent or reserved.", "19.96")]
    currency: Currency = None
    label: Annotated[str | None, Field(description="For a label's budget: the label's name.")] = None
    value: Annotated[str | None, Field(description="For a label's budget: the label's value.")] = None


class BudgetLateCharge(OfGeneration):
    """A failed generation succeeded after all, so its price, which had been released, was charged again."""

    amount: Annotated[str | None, Field(pattern=AMOUNT), _text("The price.", "0.04")] = None
    day: Annotated[date | None, _text("The day on which it counts.", "2026-11-21")] = None
    currency: Currency = None


class ProviderPaused(MayHaveGeneration):
    """An account was paused: its key was refused, or it is out of credit. The pause ends at `until` at the latest."""

    account: Annotated[str | None, _text("The account: one key of the provider.", "default")] = None
    reason: Annotated[str | None, _text("Why.", "the provider refused the key")] = None
    until: Until = None


class ProviderResumed(Part):
    """An account was resumed before its `until`: by a person, another key, or a probe that the provider answered."""

    provider: Provider
    account: Account
    reason: Annotated[
        Literal["person", "another_key", "probe"], Field(description="What ended it.", examples=["probe"])
    ]


class ProviderCircuitOpened(Part):
    """An account failed repeatedly; after `until`, a single submission probes it."""

    provider: Provider
    account: Account
    failures: Annotated[int, Field(description="Number of submissions that failed in a row.", examples=[5])]
    until: Annotated[datetime, _text("When a single submission probes it.", "2026-11-21T12:00:30.000Z")]


class SubscriberDisabled(Part):
    """A subscriber gets no more events: it responded with 410, or has failed for five days. Only others get this."""

    subscriber: Annotated[str, _text("Its name.", "shop.example.com-1f3b6c90")]
    reason: Annotated[str, _text("Why.", "no delivery has succeeded for 5 days: HTTP 503")]
    failing_since: Annotated[
        datetime | None, _text("The time since which no delivery has succeeded.", "2026-11-16T12:00:00+00:00")
    ] = None


class SubmissionsPaused(Part):
    """Submissions are paused: the ledger may have been restored from a backup."""

    reason: Annotated[str, _text("Why.", "the bucket knows a newer ledger")]


class SubmissionsResumed(Part):
    """Submissions were resumed."""

    by: Annotated[str, _text("Who resumed them: a person, or a comparison with the bucket.", "maria")]
    reason: Annotated[str | None, _text("Why they were paused.", "the bucket knows a newer ledger")] = None
