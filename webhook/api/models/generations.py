"""Generations in requests and answers of the API."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, RootModel, StringConstraints, Tag

from tasks.usecases.entry import PRIORITIES
from webhook.api.models.base import Document, Page, Repeated, RequestModel, Value
from worker.generation import AssetKind, AssetState, Operation, State

#: generations of one request
MOST = 1000

_Wait = Annotated[
    int | None,
    Field(ge=0, le=60, description="Seconds to wait for a final state, like the header `Prefer: wait=30`."),
]
MaxCost = Annotated[
    Decimal | None,
    Field(
        ge=0,
        max_digits=15,
        decimal_places=6,
        description="The most that it may cost, with its follow-ups, in the currency of the price file.",
        examples=["0.50"],
    ),
]
Priority = Annotated[int, Field(ge=PRIORITIES[0], le=PRIORITIES[-1], description="Higher priorities go first.")]
Notify = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=2048,
        description="Address that receives its events, signed like webhooks.",
        examples=["https://shop.example.com/hooks?order=17"],
    ),
]
Key = Annotated[str, Field(min_length=1, max_length=512)]
BatchName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
]
_Names = Annotated[list[str], Field(min_length=1, max_length=20)]
First = Literal[
    Operation.IMAGINE,
    Operation.BLEND,
    Operation.EDIT,
    Operation.VIDEO,
    Operation.DESCRIBE,
    Operation.SHORTEN,
    Operation.TRANSLATE,
]


class WaitQuery(RequestModel):
    wait: _Wait = None


class NewGeneration(RequestModel):
    """One generation to create."""

    prompt: Annotated[str, Field(max_length=100_000, description="Not needed by every operation.")] = ""
    operation: Annotated[First, Field(description="What to do.")] = Operation.IMAGINE
    provider: Annotated[
        str | _Names | None,
        Field(description="One provider, or several in order of preference.", examples=["acedata", ["kie", "acedata"]]),
    ] = None
    options: Annotated[
        dict[str, Value],
        Field(
            description="As in `GET /v1/providers`. Images are links, `data:` links or references from `/v1/uploads`.",
            examples=[{"version": "7", "aspect_ratio": "16:9"}],
        ),
    ] = {}  # noqa: RUF012  pydantic copies it
    key: Annotated[
        Key | None,
        Field(description="Your own name for it; the same key means the same generation.", examples=["sku-1"]),
    ] = None
    custom_id: Annotated[Key | None, Field(description="An alias of `key`.")] = None
    labels: Annotated[
        dict[str, str], Field(description="Your own names and values.", examples=[{"client": "acme"}])
    ] = {}  # noqa: RUF012
    priority: Priority = 0
    recipe: Annotated[
        str | None,
        Field(min_length=1, max_length=63, description="Name of a recipe; not with `follow_up`.", examples=["shop"]),
    ] = None
    follow_up: Annotated[
        str | _Names | None,
        Field(description="Follow-up actions to run when it succeeds.", examples=["upscale1,upscale3", "upscale:all"]),
    ] = None
    max_cost: MaxCost = None
    notify: Notify = None


class NewGenerations(RequestModel):
    """Several generations to create: all of them or none."""

    generations: Annotated[
        list[NewGeneration], Field(min_length=1, max_length=MOST, description="The answer keeps this order.")
    ]
    batch: Annotated[
        BatchName | None,
        Field(description="Name of the batch that this request creates; `batch_id` in the answer is its id."),
    ] = None
    max_cost: Annotated[MaxCost, Field(description="The most that all of them together may cost.")] = None
    notify: Annotated[
        Notify,
        Field(
            description="Address that receives the events of all of them and of their batch; an item's own address "
            "takes precedence."
        ),
    ] = None


def _kind(body: object) -> str:
    is_many = isinstance(body, NewGenerations) or (isinstance(body, dict) and "generations" in body)
    return "many" if is_many else "one"


class Submission(
    RootModel[
        Annotated[
            Annotated[NewGeneration, Tag("one")] | Annotated[NewGenerations, Tag("many")],
            Discriminator(_kind),
        ]
    ]
):
    """One generation, or up to 1,000."""


class RetryRequest(RequestModel):
    may_pay_twice: Annotated[
        bool, Field(description="Retry even if the provider may still deliver the first one, and charge for both.")
    ] = False


class ActionRequest(RequestModel):
    """One follow-up of an archived generation."""

    action: Annotated[
        str, Field(min_length=1, max_length=100, description="One of the parent's `actions`.", examples=["upscale1"])
    ]
    prompt: Annotated[str | None, Field(max_length=100_000, description="Replaces the parent's prompt.")] = None
    options: Annotated[dict[str, Value], Field(description="As in `GET /v1/providers`.")] = {}  # noqa: RUF012
    key: Annotated[Key | None, Field(description="Your own name for it.")] = None
    labels: Annotated[dict[str, str], Field(description="Added to the parent's labels.")] = {}  # noqa: RUF012
    priority: Priority = 0
    follow_up: Annotated[str | _Names | None, Field(description="Follow-up actions to run when it succeeds.")] = None
    notify: Notify = None


class GenerationsQuery(Page):
    """Which generations; all conditions must hold. A page may have fewer than `limit`: `next` says if more follow."""

    ids = "gen"

    key: Annotated[str | None, Field(description="A key, or a pattern such as `B-*`.")] = None
    batch: Annotated[str | None, Field(description="Its name or id.")] = None
    state: Annotated[State | None, Field(description="Their current state.")] = None
    provider: Annotated[str | None, Field(description="The provider that they are at, or wait for.")] = None
    label: Annotated[
        Repeated,
        Field(max_length=16, description="As `name:value`; may be repeated.", examples=[["client:acme"]]),
    ] = []  # noqa: RUF012
    search: Annotated[str | None, Field(max_length=500, description="Words in the prompt.")] = None


class AssetDocument(Document):
    """One result; its bytes are at `/v1/assets/{generation}/{index}`."""

    index: int
    kind: AssetKind
    state: AssetState
    object_key: str | None
    sha256: str | None
    bytes: int | None
    content_type: str | None
    width: int | None
    height: int | None
    content: Annotated[dict[str, Any] | None, Field(description="The content of a text asset.")]
    reason: str | None
    error: str | None


class TransitionDocument(Document):
    from_state: Annotated[State | None, Field(alias="from")]
    to: State
    at: str
    cause: str


class FailureDocument(Document):
    category: str
    remedy: Annotated[str, Field(description="For people: what to do.")]


class ChildDocument(Document):
    """A follow-up."""

    id: str
    action: str | None
    state: State


class HeldDocument(Document):
    """The budget whose cap it would exceed."""

    budget: Annotated[str, Field(examples=["day", "provider:kie", "batch:shop", "label:client=acme"])]
    until: Annotated[str | None, Field(description="When the budget resets; null if only a higher cap helps.")]


class WaitDocument(Document):
    """What holds it up."""

    cause: str
    subject: str
    told: str
    remedy: str
    since: str | None
    until: str | None
    count: int | None


class ProviderChangeDocument(Document):
    left: str
    to: str
    why: str
    at: str


class GenerationDocument(Document):
    """One generation."""

    id: Annotated[str, Field(examples=["gen_01a22359182c000000000f2b6c1e4a77"])]
    state: State
    provider: str
    providers: Annotated[list[str], Field(description="The alternatives, as long as it has never been sent.")]
    provider_changes: list[ProviderChangeDocument]
    operation: Operation
    action: str | None
    prompt: str
    options: dict[str, Any]
    key: str | None
    task_id: Annotated[str | None, Field(description="The provider's id for it.")]
    parent: str | None
    depth: int
    root_key: str | None
    batch: Annotated[str | None, Field(description="The batch's name.")]
    batch_id: str | None
    follow_up: list[str]
    recipe: Annotated[str | None, Field(description="Name of the recipe that it follows.")]
    step: Annotated[str | None, Field(description="Step of the recipe that made it.")]
    test: Annotated[bool, Field(description="Whether it is a test, which the sandbox makes free of charge.")]
    priority: int
    progress: int | None
    reason: str | None
    message: str | None
    actions: Annotated[list[str], Field(description="The follow-ups that it supports.")]
    created_at: str
    updated_at: str
    submitted_at: str | None
    finished_at: str | None
    assets: list[AssetDocument]
    transitions: list[TransitionDocument]
    failure: FailureDocument | None
    labels: dict[str, str]
    children: list[ChildDocument]
    cost: Annotated[str, Field(description="What was paid for it, without its follow-ups.", examples=["0.05"])]
    held: HeldDocument | None
    waits_for: WaitDocument | None


class GenerationPage(Document):
    data: list[GenerationDocument]
    next: Annotated[str | None, Field(description="`after` of the next page; null at the end.")]


class CreatedGeneration(GenerationDocument):
    """A created generation."""

    warnings: Annotated[list[str], Field(description="What looks wrong; the generation was created anyway.")]


class CreatedGenerations(Document):
    data: Annotated[list[CreatedGeneration], Field(description="In the order of the request.")]
    batch_id: str | None
    warnings: Annotated[list[str], Field(description="Why nothing is submitted yet, and what is assumed.")]


class Created(RootModel[CreatedGenerations | CreatedGeneration]):
    """One generation or a list, as in the request."""

    model_config = ConfigDict(defer_build=True)
