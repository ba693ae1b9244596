"""The domain: generations, their states, and what providers report about them. Pure values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self


class State(StrEnum):
    #: recorded, waits for capacity at the provider
    QUEUED = "queued"
    #: claimed by exactly one worker; the POST may be in progress
    SUBMITTING = "submitting"
    #: the provider accepted it; its task_id is known
    SUBMITTED = "submitted"
    #: the provider may have accepted it; not submitted again until this is known
    UNCONFIRMED = "unconfirmed"
    #: the provider finished and charged it; the links are known, the bytes are not stored yet
    SUCCEEDED = "succeeded"
    #: every asset is in the bucket, with its hash
    ARCHIVED = "archived"
    #: a link expired before its bytes were stored: the one state that pages somebody
    EXPIRED = "expired"
    #: the provider refused or failed it
    FAILED = "failed"
    #: cancelled before it was submitted
    CANCELLED = "cancelled"
    #: deleted: only its existence, its cost and the hashes of its results remain
    DELETED = "deleted"


FINAL = frozenset({State.ARCHIVED, State.EXPIRED, State.FAILED, State.CANCELLED, State.DELETED})
OPEN = frozenset(State) - FINAL

#: Every move that the ledger allows. A caller that finds another state came too late and changes nothing.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    # A late success of an earlier attempt is paid for, so it is kept in whatever state the generation is.
    State.QUEUED: frozenset({State.SUBMITTING, State.CANCELLED, State.FAILED, State.SUCCEEDED}),
    # The callback may arrive before the reply to the submission.
    State.SUBMITTING: frozenset({State.QUEUED, State.SUBMITTED, State.UNCONFIRMED, State.SUCCEEDED, State.FAILED}),
    State.SUBMITTED: frozenset({State.SUCCEEDED, State.FAILED}),
    # Back to QUEUED by a person, or by the worker that claimed it and knows that it was not accepted.
    State.UNCONFIRMED: frozenset({State.SUBMITTED, State.SUCCEEDED, State.FAILED, State.QUEUED}),
    State.SUCCEEDED: frozenset({State.ARCHIVED, State.EXPIRED}),
    # A person may request the links again; that costs nothing.
    State.EXPIRED: frozenset({State.SUCCEEDED, State.DELETED}),
    # Back to QUEUED only by a person; a success after a time-out wins (midjourney-proxy reports those).
    State.FAILED: frozenset({State.SUCCEEDED, State.QUEUED, State.DELETED}),
    State.CANCELLED: frozenset({State.SUCCEEDED, State.DELETED}),
    State.ARCHIVED: frozenset({State.DELETED}),
    # Nothing that comes later may restore it.
    State.DELETED: frozenset(),
}


class AttemptState(StrEnum):
    """The state of one submission. While one is live, its generation has no other."""

    #: the POST may be in progress
    SENDING = "sending"
    #: the provider accepted it
    ACCEPTED = "accepted"
    #: unknown whether the provider accepted it
    UNCERTAIN = "uncertain"
    #: certainly not accepted, so not charged
    REJECTED = "rejected"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    #: a person found that it was charged without a result
    CHARGED = "charged"
    #: a person resubmitted its generation; it may have been charged, and is still polled
    ABANDONED = "abandoned"


LIVE_ATTEMPTS = (AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.UNCERTAIN)
#: the outcome is known
ENDED_ATTEMPTS = (AttemptState.REJECTED, AttemptState.FAILED, AttemptState.SUCCEEDED, AttemptState.CHARGED)

_ENDS = frozenset({AttemptState.REJECTED, AttemptState.FAILED, AttemptState.SUCCEEDED})
_DECIDED = frozenset({AttemptState.CHARGED, AttemptState.ABANDONED})
ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.SENDING: frozenset({AttemptState.ACCEPTED, AttemptState.UNCERTAIN}) | _ENDS | _DECIDED,
    AttemptState.ACCEPTED: _ENDS | _DECIDED,
    # Never back to SENDING: an attempt is one POST.
    AttemptState.UNCERTAIN: frozenset({AttemptState.ACCEPTED}) | _ENDS | _DECIDED,
    AttemptState.ABANDONED: _ENDS,
    # A success is always applied: it is paid for, whatever was reported before.
    AttemptState.REJECTED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.FAILED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.CHARGED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.SUCCEEDED: frozenset(),
}


class Verdict(StrEnum):
    """The result of processing a callback; None until it is processed."""

    APPLIED = "applied"
    #: nothing new
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    #: its task is not its attempt's task
    MISMATCH = "mismatch"
    #: no such attempt in the ledger
    ORPHAN = "orphan"
    #: its readers died repeatedly
    POISON = "poison"
    #: dismissed by a person
    DISMISSED = "dismissed"


#: set aside for a person
ASIDE = (Verdict.UNREADABLE, Verdict.MISMATCH, Verdict.ORPHAN, Verdict.POISON)
_DONE_WITH = (Verdict.APPLIED, Verdict.IGNORED)
VERDICT_MOVES: Mapping[Verdict | None, frozenset[Verdict | None]] = {
    None: frozenset(Verdict),
    # To None: a person replays it. All are dismissed when their generation is deleted.
    **dict.fromkeys((*_DONE_WITH, *ASIDE), frozenset({None, Verdict.DISMISSED})),
    Verdict.DISMISSED: frozenset({None}),
}


class Operation(StrEnum):
    IMAGINE = "imagine"
    UPSCALE = "upscale"
    VARIATION = "variation"
    REROLL = "reroll"
    PAN = "pan"
    ZOOM = "zoom"
    REGION = "region"
    BLEND = "blend"
    DESCRIBE = "describe"
    EDIT = "edit"
    VIDEO = "video"
    VIDEO_EXTEND = "video_extend"
    SHORTEN = "shorten"
    TRANSLATE = "translate"
    SEED = "seed"
    #: the images of a grid, cut out of it here and not by a provider
    SPLIT = "split"


_OPERATION_OF_ACTION = (
    (re.compile(r"upscale([1-4]|_\w+)|redo_upscale_\w+"), Operation.UPSCALE),
    (re.compile(r"variation_region"), Operation.REGION),
    (re.compile(r"variation([1-4]|_\w+)"), Operation.VARIATION),
    (re.compile(r"reroll"), Operation.REROLL),
    (re.compile(r"pan_(left|right|up|down)"), Operation.PAN),
    (re.compile(r"zoom_\w+|square"), Operation.ZOOM),
    (re.compile(r"extend[1-4]"), Operation.VIDEO_EXTEND),
    (re.compile(r"seed"), Operation.SEED),
    (re.compile(r"split"), Operation.SPLIT),
)


def operation_of(action: str) -> Operation | None:
    """Return the operation of a follow-up action (`upscale2`, `zoom_out_1_5x`, …); None if it is unknown."""
    return next((operation for pattern, operation in _OPERATION_OF_ACTION if pattern.fullmatch(action)), None)


class AssetKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    TEXT = "text"


class AssetState(StrEnum):
    #: not stored yet
    WAITING = "waiting"
    STORED = "stored"
    #: abandoned; it waits again if a person retries it
    EXPIRED = "expired"
    #: deleted; it keeps its key while its object is (or may be) in the bucket
    DELETED = "deleted"


ASSET_MOVES: Mapping[AssetState, frozenset[AssetState]] = {
    AssetState.WAITING: frozenset({AssetState.STORED, AssetState.EXPIRED, AssetState.DELETED}),
    AssetState.EXPIRED: frozenset({AssetState.WAITING, AssetState.DELETED}),
    AssetState.STORED: frozenset({AssetState.DELETED}),
    AssetState.DELETED: frozenset(),
}


class ThumbnailState(StrEnum):
    """The state of an image's thumbnail; None for an asset whose thumbnail nobody has requested."""

    WANTED = "wanted"
    #: its object is stored beside the asset's
    MADE = "made"
    #: the image does not decode within the decoder's limits; not tried again
    UNDECODABLE = "undecodable"
    #: the asset's object is missing from the bucket or has other bytes; tried again once it is repaired
    MISSING = "missing"


THUMBNAIL_MOVES: Mapping[ThumbnailState | None, frozenset[ThumbnailState]] = {
    None: frozenset({ThumbnailState.WANTED}),
    ThumbnailState.WANTED: frozenset({ThumbnailState.MADE, ThumbnailState.UNDECODABLE, ThumbnailState.MISSING}),
    ThumbnailState.MADE: frozenset({ThumbnailState.WANTED}),
    ThumbnailState.UNDECODABLE: frozenset(),
    ThumbnailState.MISSING: frozenset({ThumbnailState.WANTED}),
}


class Trouble(StrEnum):
    """Why an asset is not stored. The last two are final; all others are retried automatically."""

    #: 404, 410 or 403: the file is not there yet, or no longer
    NOT_FOUND = "not_found"
    #: a firewall replied instead of the file's host
    BLOCKED = "blocked"
    #: no setting and no provider lists the link's host
    HOST_NOT_ALLOWED = "host_not_allowed"
    #: the host resolves to a forbidden address
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    NO_ANSWER = "no_answer"
    TOO_SLOW = "too_slow"
    #: the bytes are not the complete and harmless file that they claim to be
    BAD_CONTENT = "bad_content"
    #: the bucket refused it
    STORE = "store"
    SETTING = "setting"
    #: workers died or hung while processing it
    WORKER_DIED = "worker_died"
    UNEXPECTED = "unexpected"
    #: the link has expired, by its own time or the provider's documentation, and returns nothing
    LINK_DEAD = "link_dead"
    #: tried for DARKROOM_GIVE_UP_DAYS
    UNREACHABLE = "unreachable"


#: a changed setting, another network or a newer version may fix these: all are retried immediately after a restart
MENDED_BY_RESTART = (
    Trouble.BLOCKED,
    Trouble.HOST_NOT_ALLOWED,
    Trouble.ADDRESS_NOT_ALLOWED,
    Trouble.NO_ANSWER,
    Trouble.BAD_CONTENT,
    Trouble.STORE,
    Trouble.SETTING,
    Trouble.UNEXPECTED,
)
#: these stay until a person acts, and are reported at once
FOR_A_PERSON = (Trouble.HOST_NOT_ALLOWED, Trouble.ADDRESS_NOT_ALLOWED, Trouble.SETTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A request to a provider.

    `action` is the follow-up that the parent offered (None for a first generation); `parent` is the handle by which
    the provider finds the parent (for Ace Data Cloud its `image_id`).
    """

    operation: Operation
    prompt: str
    options: Mapping[str, object] = field(default_factory=dict)
    action: str | None = None
    parent: Mapping[str, str] = field(default_factory=dict)


class Status(StrEnum):
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Link:
    """The link to one result, exactly as the provider wrote it: changing a byte breaks its signature."""

    url: str
    kind: AssetKind = AssetKind.IMAGE


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted a submission under this task_id."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a callback or a poll reports about one task, in our words.

    `parent` is the handle that follow-ups of this generation must send; `actions` are the follow-ups that it offers.
    `text` is a result without a file, as a JSON object (describe, shorten, translate, seed).
    """

    status: Status
    task_id: str | None = None
    progress: int | None = None
    links: tuple[Link, ...] = ()
    text: Mapping[str, object] | None = None
    actions: tuple[str, ...] = ()
    parent: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    message: str | None = None


#: the suffix of the names of test batches, and of no others
TEST_BATCH = " (test)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChange:
    """A generation that was never sent went to another provider. `at`: as `iso` writes it."""

    left: str
    to: str
    why: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    id: str
    provider: str
    operation: Operation
    action: str | None
    prompt: str
    options: Mapping[str, object]
    state: State
    batch_id: str | None
    parent_id: str | None
    depth: int
    follow_up: tuple[str, ...]
    priority: int
    key: str | None
    task_id: str | None
    progress: int | None
    reason: str | None
    message: str | None
    tries: int
    actions: tuple[str, ...]
    parent_handle: Mapping[str, str]
    handle: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None
    #: the provider's account that it was sent to
    account: str | None = None
    #: the user's own columns of its row, and `_choice`, what a template chose for it
    input: Mapping[str, object] = field(default_factory=dict)
    #: the position of its row in the user's file, from 1; None without a file. And the version of this row, from 1
    row_number: int | None = None
    row_version: int = 1
    #: the alternative providers while it has never been sent; and its previous providers
    providers: tuple[str, ...] = ()
    provider_changes: tuple[ProviderChange, ...] = ()
    #: the label whose budget has no room for it, as `client=acme`
    held_label: str | None = None
    #: the recipe's SHA-256, its name, and the id of the step that created this generation (None: it was submitted)
    recipe: str | None = None
    recipe_name: str | None = None
    step: str | None = None
    #: it is made by the sandbox, and costs nothing
    is_test: bool = False

    @property
    def request(self) -> GenerationRequest:
        return GenerationRequest(
            operation=self.operation,
            prompt=self.prompt,
            options=self.options,
            action=self.action,
            parent=self.parent_handle,
        )


@dataclass(frozen=True, slots=True)
class FollowUpStep:
    """One follow-up on the path from a root. `mark`: its own key or id, if its parent may have several like it."""

    action: str
    mark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a generation belongs to: its root (the first ancestor, itself if it has no parent) and its batch.

    `batch`: its name; `steps`: the follow-ups that lead from the root to it.
    """

    root_id: str
    root_key: str | None
    root_version: int
    root_created_at: datetime
    #: the user's own columns
    root_input: Mapping[str, object] = field(default_factory=dict)
    batch: str | None
    steps: tuple[FollowUpStep, ...] = ()

    @classmethod
    def of_root(cls, generation: Generation, batch: str | None) -> Self:
        return cls(
            root_id=generation.id,
            root_key=generation.key,
            root_version=generation.row_version,
            root_created_at=generation.created_at,
            root_input=generation.input,
            batch=batch,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused file, kept in the bucket. `type`: the server's content type."""

    bytes: int
    sha256: str
    type: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A person's decision to archive a refused file unchanged."""

    by: str
    at: datetime
    #: why it was refused
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """The thumbnail of an image; the other fields are known once it is made.

    `colour`: the average, 0xRRGGBB. `dhash`: 64 bits, of which few differ between images that look alike. `bytes`: its
    size. `width` and `height`: its own.
    """

    state: ThumbnailState
    colour: int | None = None
    dhash: int | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One result. `url` is a secret while it works: show it only through `worker.secrets`; a text has `content`."""

    id: int
    generation_id: str
    index: int
    kind: AssetKind
    url: str
    deadline: datetime
    state: AssetState
    tries: int
    renewals: int
    object_key: str | None
    sha256: str | None
    bytes: int | None
    content_type: str | None
    width: int | None
    height: int | None
    seconds: float | None
    error: str | None
    content: Mapping[str, object] | None = None
    #: why it is not stored (`Trouble`), and when it is tried next
    reason: str | None = None
    not_before: datetime | None = None
    refused: Refused | None = None
    accepted: Acceptance | None = None
    #: the hash of the received bytes, if others were stored
    source_sha256: str | None = None
    #: how the bytes in the bucket were verified; what is unusual about a complete file
    verified: str | None = None
    remark: str | None = None
    #: None if it is not an image, or nobody has requested its thumbnail
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    from_state: State | None
    to_state: State
    at: datetime
    cause: str


def iso(moment: datetime | None) -> str | None:
    """Format a time as in all our JSON."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
