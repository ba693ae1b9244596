"""The domain: what a generation is, the states it moves through, and what providers can say about it. Pure values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum


class State(StrEnum):
    #: written down, waits for room at the provider
    QUEUED = "queued"
    #: claimed by exactly one worker; the POST may be under way
    SUBMITTING = "submitting"
    #: the provider took it; its task_id is known
    SUBMITTED = "submitted"
    #: nobody knows whether the provider took it; not submitted again while nobody does
    UNCONFIRMED = "unconfirmed"
    #: the provider is done and paid; the links are known, the bytes are not ours yet
    SUCCEEDED = "succeeded"
    #: every asset lies in the bucket, hashed
    ARCHIVED = "archived"
    #: a link died before its bytes were ours: the one state that pages somebody
    EXPIRED = "expired"
    #: the provider refused or failed it
    FAILED = "failed"
    #: taken back before it was submitted
    CANCELLED = "cancelled"
    #: withdrawn: what remains says that it was there, what it cost and what its results hashed to
    DELETED = "deleted"


FINAL = frozenset({State.ARCHIVED, State.EXPIRED, State.FAILED, State.CANCELLED, State.DELETED})
OPEN = frozenset(State) - FINAL

#: Every move that the ledger allows. Whoever finds the generation in another state came too late and changes nothing.
TRANSITIONS: Mapping[State, frozenset[State]] = {
    # A late success of an earlier attempt is paid for, so it is kept wherever the generation waits meanwhile.
    State.QUEUED: frozenset({State.SUBMITTING, State.CANCELLED, State.FAILED, State.SUCCEEDED}),
    # The callback may outrun the reply to the submission.
    State.SUBMITTING: frozenset({State.QUEUED, State.SUBMITTED, State.UNCONFIRMED, State.SUCCEEDED, State.FAILED}),
    State.SUBMITTED: frozenset({State.SUCCEEDED, State.FAILED}),
    # Back to QUEUED by a person, or by the very worker that claimed it and knows that it was not taken.
    State.UNCONFIRMED: frozenset({State.SUBMITTED, State.SUCCEEDED, State.FAILED, State.QUEUED}),
    State.SUCCEEDED: frozenset({State.ARCHIVED, State.EXPIRED}),
    # A person may ask for the links again; that costs nothing.
    State.EXPIRED: frozenset({State.SUCCEEDED, State.DELETED}),
    # Back to QUEUED only by a person; a success after a time-out wins (midjourney-proxy does that).
    State.FAILED: frozenset({State.SUCCEEDED, State.QUEUED, State.DELETED}),
    State.CANCELLED: frozenset({State.SUCCEEDED, State.DELETED}),
    State.ARCHIVED: frozenset({State.DELETED}),
    # Whatever comes after it must not bring anything of it back.
    State.DELETED: frozenset(),
}


class AttemptState(StrEnum):
    """Of one submission. As long as one is live, the ledger has no other of its generation."""

    #: the POST may be under way
    SENDING = "sending"
    #: the provider took it
    ACCEPTED = "accepted"
    #: nobody knows whether it was taken
    UNCERTAIN = "uncertain"
    #: it was certainly not taken, and costs nothing
    REJECTED = "rejected"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    #: a person has found out that it was paid for, although nothing came of it
    CHARGED = "charged"
    #: a person had its generation submitted again; it may have been paid for, and what comes of it is still asked for
    ABANDONED = "abandoned"


LIVE_ATTEMPTS = (AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.UNCERTAIN)
#: it is known how they ended
ENDED_ATTEMPTS = (AttemptState.REJECTED, AttemptState.FAILED, AttemptState.SUCCEEDED, AttemptState.CHARGED)

_ENDS = frozenset({AttemptState.REJECTED, AttemptState.FAILED, AttemptState.SUCCEEDED})
_DECIDED = frozenset({AttemptState.CHARGED, AttemptState.ABANDONED})
ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.SENDING: frozenset({AttemptState.ACCEPTED, AttemptState.UNCERTAIN}) | _ENDS | _DECIDED,
    AttemptState.ACCEPTED: _ENDS | _DECIDED,
    # Never back to SENDING: an attempt is one POST.
    AttemptState.UNCERTAIN: frozenset({AttemptState.ACCEPTED}) | _ENDS | _DECIDED,
    AttemptState.ABANDONED: _ENDS,
    # A success is always believed: it is paid for, whatever was said before.
    AttemptState.REJECTED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.FAILED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.CHARGED: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.SUCCEEDED: frozenset(),
}


class Verdict(StrEnum):
    """What became of a callback; one that was not applied yet has none (None)."""

    APPLIED = "applied"
    #: it says nothing new
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    #: it names another task than its attempt has
    MISMATCH = "mismatch"
    #: the ledger knows no such attempt
    ORPHAN = "orphan"
    #: whoever read it died of it, time and again
    POISON = "poison"
    #: a person has seen it
    DISMISSED = "dismissed"


#: set aside for a person
ASIDE = (Verdict.UNREADABLE, Verdict.MISMATCH, Verdict.ORPHAN, Verdict.POISON)
_DONE_WITH = (Verdict.APPLIED, Verdict.IGNORED)
VERDICT_MOVES: Mapping[Verdict | None, frozenset[Verdict | None]] = {
    None: frozenset(Verdict),
    # To None: a person has it applied again. All are dismissed when their generation is deleted.
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


_OPERATION_OF_ACTION = (
    (re.compile(r"upscale([1-4]|_\w+)|redo_upscale_\w+"), Operation.UPSCALE),
    (re.compile(r"variation_region"), Operation.REGION),
    (re.compile(r"variation([1-4]|_\w+)"), Operation.VARIATION),
    (re.compile(r"reroll"), Operation.REROLL),
    (re.compile(r"pan_(left|right|up|down)"), Operation.PAN),
    (re.compile(r"zoom_\w+|square"), Operation.ZOOM),
    (re.compile(r"extend[1-4]"), Operation.VIDEO_EXTEND),
    (re.compile(r"seed"), Operation.SEED),
)


def operation_of(action: str) -> Operation | None:
    """The operation that a follow-up action (`upscale2`, `zoom_out_1_5x`, …) belongs to; None if it is not known."""
    return next((operation for pattern, operation in _OPERATION_OF_ACTION if pattern.fullmatch(action)), None)


class AssetKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    TEXT = "text"


class AssetState(StrEnum):
    #: its bytes are not ours yet
    WAITING = "waiting"
    STORED = "stored"
    #: given up; it waits again when a person asks for it
    EXPIRED = "expired"
    #: withdrawn; with a key as long as its object is (or may be) still in the bucket
    DELETED = "deleted"


ASSET_MOVES: Mapping[AssetState, frozenset[AssetState]] = {
    AssetState.WAITING: frozenset({AssetState.STORED, AssetState.EXPIRED, AssetState.DELETED}),
    AssetState.EXPIRED: frozenset({AssetState.WAITING, AssetState.DELETED}),
    AssetState.STORED: frozenset({AssetState.DELETED}),
    AssetState.DELETED: frozenset(),
}


class Trouble(StrEnum):
    """Why an asset is not stored. The last two are ends; with each of the others it is tried again by itself."""

    #: 404, 410 or 403: the file is not there (yet), or not any more
    NOT_FOUND = "not_found"
    #: a firewall answered in place of the file
    BLOCKED = "blocked"
    #: the link leads to a host that no setting and no provider names
    HOST_NOT_ALLOWED = "host_not_allowed"
    #: the resolver gave an address where no download may go
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    NO_ANSWER = "no_answer"
    TOO_SLOW = "too_slow"
    #: bytes came that are not the whole and harmless file that they claim to be
    BAD_CONTENT = "bad_content"
    #: the bucket did not take it
    STORE = "store"
    SETTING = "setting"
    #: workers died or hung while they worked on it
    WORKER_DIED = "worker_died"
    UNEXPECTED = "unexpected"
    #: the link itself, or what its provider documents, says that it is over, and it gives nothing any more
    LINK_DEAD = "link_dead"
    #: tried for DARKROOM_GIVE_UP_DAYS
    UNREACHABLE = "unreachable"


#: what a changed setting, another network or a newer version may mend: all of it is tried at once after a restart
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
#: what stays until a person acts, and is told of at once
FOR_A_PERSON = (Trouble.HOST_NOT_ALLOWED, Trouble.ADDRESS_NOT_ALLOWED, Trouble.SETTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What a provider is asked to do.

    `action` is the name of the follow-up that the parent offered (None for a first generation); `parent` holds what
    the provider needs to find the parent (for Ace Data Cloud its `image_id`).
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
    """Where one result can be fetched, exactly as the provider wrote it: a changed byte breaks its signature."""

    url: str
    kind: AssetKind = AssetKind.IMAGE


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took a submission, under this task_id."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a callback or a poll says about one task, in our words.

    `parent` is what a follow-up of this generation must send to name it; `actions` the follow-ups that are offered.
    `text` is the result itself, a JSON object, where it is no file behind a link (describe, shorten, translate, seed).
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
    #: of the provider: where it went
    account: str | None = None

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
class Lineage:
    """What a generation belongs to: the key of its first ancestor (its own if it has no parent), its batch's name."""

    root_key: str | None
    batch: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that came for an asset and were refused; they lie aside in the bucket. `type`: what the server said."""

    bytes: int
    sha256: str
    type: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A person had a look at refused bytes, and has them archived as they are."""

    by: str
    at: datetime
    #: why they had been refused
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One result. `url` is a secret while it lives: show it only through `worker.secrets`; a text has `content`."""

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
    #: of the bytes that came, where others were stored
    source_sha256: str | None = None
    #: what has shown that the bytes are in the bucket; what is odd about a file that is whole all the same
    verified: str | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    from_state: State | None
    to_state: State
    at: datetime
    cause: str


def iso(moment: datetime | None) -> str | None:
    """A moment as all our JSON writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
