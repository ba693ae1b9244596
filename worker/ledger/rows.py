"""Rows become frozen values before they leave the ledger."""

from typing import Any

from worker.generation import Acceptance, Asset, AssetKind, AssetState, Generation, Operation, Refused, State

Row = Any  # a SQLAlchemy row; its columns are those of the table named in the function


def to_generation(row: Row) -> Generation:
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
    )


def to_asset(row: Row) -> Asset:
    refused = row.refused_bytes is not None
    accepted = row.accepted_at is not None
    return Asset(
        id=row.id,
        generation_id=row.generation_id,
        index=row.index,
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
        refused=Refused(row.refused_bytes, row.refused_sha256, row.refused_type, row.refused_why) if refused else None,
        accepted=Acceptance(row.accepted_by, row.accepted_at, row.refused_why) if accepted else None,
        source_sha256=row.source_sha256,
        verified=row.verified,
        remark=row.remark,
    )
