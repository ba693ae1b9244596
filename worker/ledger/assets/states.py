"""The states of an asset."""

from worker.generation import ASSET_MOVES, AssetState
from worker.ledger.moves import Machine
from worker.ledger.schema import assets

ASSETS = Machine(assets.c.state, ASSET_MOVES)


def may_settle(state: AssetState, to: AssetState) -> bool:
    """Whether an asset in this `state` may be settled so: one that waits, which it may go on doing."""
    return state is AssetState.WAITING and (to is state or ASSETS.allows(state, to))
