"""Splits of grids: they need no provider, so they succeed at creation, and the archive step cuts their assets."""

from collections.abc import Sequence

from worker.generation import AssetKind, AssetState, State
from worker.ledger.changes import Changes
from worker.ledger.schema import NEVER, assets
from worker.ledger.statements import insert_rows

#: images in a grid
_PARTS = 4


def begin_splits(changes: Changes, generation_ids: Sequence[str]) -> None:
    """Move these new splits to SUCCEEDED, and record the assets to cut."""
    for generation_id in generation_ids:
        changes.move(generation_id, State.SUCCEEDED, "nothing to wait for: its grid is cut here", progress=100)
    rows = [
        {
            "generation_id": generation_id,
            "index": index,
            "kind": AssetKind.IMAGE,
            "url": "",
            "content": None,
            "deadline": NEVER,
            "state": AssetState.WAITING,
            "tries": 0,
            "renewals": 0,
        }
        for generation_id in generation_ids
        for index in range(_PARTS)
    ]
    insert_rows(changes.connection, assets, rows)
