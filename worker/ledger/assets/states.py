"""The states of an asset."""

from worker.generation import ASSET_MOVES, AssetState
from worker.ledger.moves import Machine
from worker.ledger.schema import assets

ASSETS = Machine(assets.c.state, ASSET_MOVES)


def may_settle(state: AssetState, to: AssetState) -> bool:
    """Return whether a claim may move an asset from `state`, which must be waiting, to `to`; it may stay waiting."""
    return state is AssetState.WAITING and (to is state or ASSETS.allows(state, to))
