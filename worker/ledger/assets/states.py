"""The states of an asset."""

from worker.generation import ASSET_MOVES, AssetState
from worker.ledger.moves import Machine
from worker.ledger.schema import assets

ASSETS = Machine(assets.c.state, ASSET_MOVES)


def may_settle(state: AssetState, to: AssetState) -> bool:
    """Set `values` in a waiting asset, which may stay waiting; False if it does not wait, or is not `mine`."""
    return state is AssetState.WAITING and (to is state or ASSETS.allows(state, to))
