"""The states of an asset."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from worker.generation import ASSET_MOVES, AssetState
from worker.ledger.moves import Machine
from worker.ledger.schema import assets
from worker.ledger.statements import update_row

ASSETS = Machine(assets.c.state, ASSET_MOVES)


def settle_waiting(connection: Connection, mine: Mapping[str, Any], to: AssetState, **values: Any) -> bool:
    """Set `values` in a waiting asset, which may stay waiting; False if it does not wait, or is not `mine`."""
    if to is AssetState.WAITING:
        return update_row(connection, assets, {**mine, "state": to}, **values) == 1
    return ASSETS.move(connection, mine, to, **values) == 1
