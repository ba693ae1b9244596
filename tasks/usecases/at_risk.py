"""Paid results that may be lost: links that expire soon, failing downloads or uploads, unreadable callbacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from tasks.usecases.services import LedgerServices
from worker.generation import Asset, Generation
from worker.ledger.outcome import CallbackNote
from worker.providers import end_is_proven

__all__ = ["AtRisk", "CallbackNote", "RiskyAsset", "at_risk"]


@dataclass(frozen=True, slots=True)
class RiskyAsset:
    """An asset that may be lost.

    `left`: time until its link expires, negative afterwards. `is_proven`: `left` is known, not estimated.
    """

    asset: Asset
    owner: Generation
    left: timedelta
    is_proven: bool


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Assets, most urgent first, and unreadable callbacks of generations that wait for an outcome."""

    assets: tuple[RiskyAsset, ...]
    unread: tuple[tuple[CallbackNote, Generation], ...]


def at_risk(
    here: LedgerServices, within: timedelta | None = None, labels: Mapping[str, str] = MappingProxyType({})
) -> AtRisk:
    """Return what is not stored and expires within `within` (default DARKROOM_AT_RISK_HOURS), or cannot be fetched.

    Only of generations with all these `labels`.
    """
    ledger, now = here.ledger, here.clock()
    assets = ledger.assets.at_risk(now + (within or here.settings.at_risk))
    unread = [(one, str(one.generation_id)) for one in ledger.callbacks.unread()]
    ids = list(dict.fromkeys([*(one.generation_id for one in assets), *(generation_id for _, generation_id in unread)]))
    found = ledger.generations.get(ids) if ids else []
    owners = {one.id: one for one in (ledger.generations.with_labels(found, labels) if labels else found)}
    risky = (
        RiskyAsset(one, owner, one.deadline - now, end_is_proven(owner.provider, one))
        for one in assets
        if (owner := owners.get(one.generation_id)) is not None
    )
    unread_of = ((one, owners[generation_id]) for one, generation_id in unread if generation_id in owners)
    return AtRisk(tuple(risky), tuple(unread_of))
