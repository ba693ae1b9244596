"""Rows become frozen values before they leave the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from worker.generation import (
    Acceptance,
    Asset,
    AssetKind,
    AssetState,
    Generation,
    Operation,
    ProviderChange,
    Refused,
    State,
    Thumbnail,
    ThumbnailState,
)
from worker.ledger.schema import assets, batches, generations
from worker.ledger.statements import IDS, Query, columns_of
from worker.secrets import SANDBOX_ACCOUNT


class GenerationRow(NamedTuple):
    id: str
    provider: str
    operation: str
    action: str | None
    prompt: str
    options: Mapping[str, object]
    state: str
    batch_id: str | None
    parent_id: str | None
    depth: int
    follow_up: Sequence[str]
    priority: int
    key: str | None
    task_id: str | None
    progress: int | None
    reason: str | None
    message: str | None
    tries: int
    actions: Sequence[str]
    parent_handle: Mapping[str, str]
    handle: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime | None
    finished_at: datetime | None
    account: str | None
    input: Mapping[str, object] | None
    row_number: int | None
    row_version: int | None
    providers: Sequence[str] | None
    provider_changes: Sequence[Mapping[str, str]] | None
    held_label: str | None
    recipe: str | None
    recipe_name: str | None
    step: str | None
    pinned: str


class AssetRow(NamedTuple):
    id: int
    generation_id: str
    #: its `index`, a name that tuples already use
    number: int
    kind: str
    url: str
    content: Mapping[str, object] | None
    deadline: datetime
    state: str
    not_before: datetime | None
    tries: int
    renewals: int
    reason: str | None
    error: str | None
    refused_bytes: int | None
    refused_sha256: str | None
    refused_type: str | None
    refused_why: str | None
    accepted_by: str | None
    accepted_at: datetime | None
    verified: str | None
    remark: str | None
    object_key: str | None
    sha256: str | None
    source_sha256: str | None
    bytes: int | None
    content_type: str | None
    width: int | None
    height: int | None
    seconds: float | None
    thumbnail: str | None
    thumbnail_bytes: int | None
    thumbnail_width: int | None
    thumbnail_height: int | None
    colour: int | None
    dhash: int | None


class Id(NamedTuple):
    id: str


class _BatchName(NamedTuple):
    id: str
    name: str


GENERATION = columns_of(generations, GenerationRow)
ASSET = columns_of(assets, AssetRow, number="index")
_BATCH_NAMES = Query(_BatchName, select(*columns_of(batches, _BatchName)).where(batches.c.id.in_(IDS)))


def names_of_batches(connection: Connection, batch_ids: Iterable[str | None]) -> dict[str | None, str]:
    """The names of existing batches, by id; no query if there are no ids."""
    ids = sorted({one for one in batch_ids if one is not None})
    return {row.id: row.name for row in _BATCH_NAMES.each(connection, ids)}


def to_generation(row: GenerationRow) -> Generation:
    return Generation(
        id=row.id,
        provider=row.provider,
        operation=Operation(row.operation),
        action=row.action,
        prompt=row.prompt,
        options=row.options,
        state=State(row.state),
        batch_id=row.batch_id,
        parent_id=row.parent_id,
        depth=row.depth,
        follow_up=tuple(row.follow_up),
        priority=row.priority,
        key=row.key,
        task_id=row.task_id,
        progress=row.progress,
        reason=row.reason,
        message=row.message,
        tries=row.tries,
        actions=tuple(row.actions),
        parent_handle=row.parent_handle,
        handle=row.handle,
        created_at=row.created_at,
        updated_at=row.updated_at,
        submitted_at=row.submitted_at,
        finished_at=row.finished_at,
        account=row.account,
        input=row.input or {},
        row_number=row.row_number,
        row_version=row.row_version or 1,
        providers=tuple(row.providers or ()),
        provider_changes=tuple(ProviderChange(**one) for one in row.provider_changes or ()),
        held_label=row.held_label,
        recipe=row.recipe,
        recipe_name=row.recipe_name,
        step=row.step,
        is_test=row.pinned == SANDBOX_ACCOUNT,
    )


def to_asset(row: AssetRow) -> Asset:
    refused = accepted = None
    if row.refused_bytes is not None:
        refused = Refused(row.refused_bytes, row.refused_sha256 or "", row.refused_type, row.refused_why or "")
    if row.accepted_at is not None:
        accepted = Acceptance(row.accepted_by or "", row.accepted_at, row.refused_why or "")
    return Asset(
        id=row.id,
        generation_id=row.generation_id,
        index=row.number,
        kind=AssetKind(row.kind),
        url=row.url,
        deadline=row.deadline,
        state=AssetState(row.state),
        tries=row.tries,
        renewals=row.renewals,
        object_key=row.object_key,
        sha256=row.sha256,
        bytes=row.bytes,
        content_type=row.content_type,
        width=row.width,
        height=row.height,
        seconds=row.seconds,
        error=row.error,
        content=row.content,
        reason=row.reason,
        not_before=row.not_before,
        refused=refused,
        accepted=accepted,
        source_sha256=row.source_sha256,
        verified=row.verified,
        remark=row.remark,
        thumbnail=None if row.thumbnail is None else _thumbnail(row, ThumbnailState(row.thumbnail)),
    )


def _thumbnail(row: AssetRow, state: ThumbnailState) -> Thumbnail:
    return Thumbnail(
        state=state,
        colour=row.colour,
        dhash=unsigned(row.dhash),
        bytes=row.thumbnail_bytes,
        width=row.thumbnail_width,
        height=row.thumbnail_height,
    )


def unsigned(dhash: int | None) -> int | None:
    """Convert back to unsigned: databases have no unsigned 64-bit numbers."""
    return None if dhash is None else dhash & 0xFFFF_FFFF_FFFF_FFFF


def signed(dhash: int) -> int:
    return dhash - (1 << 64) if dhash >> 63 else dhash
