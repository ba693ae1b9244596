"""Compares the bucket with the ledger: missing, changed and orphaned objects."""

import json
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from worker.archive import Archive, Keys, Kind, Verdict
from worker.errors import ArchiveError, ConfigurationError, NotFound
from worker.generation import Asset
from worker.ledger.assets import Assets

THREADS = 8
#: consecutive unreadable objects after which the bucket itself counts as unreachable
GIVE_UP = 20
#: bytes; sidecars stay far below, even with the longest prompts and options
_LARGEST_SIDECAR = 4 * 1024 * 1024


class KnownKeys:
    """A set of keys in 8 bytes each; among a billion keys, one unknown key in 10 billion would count as known."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._is_sorted = True

    def add(self, key: str) -> None:
        self._hashes.append(hash(key))
        self._is_sorted = False

    def __contains__(self, key: str) -> bool:
        if not self._is_sorted:
            self._hashes = array("q", sorted(self._hashes))
            self._is_sorted = True
        place = bisect_left(self._hashes, hash(key))
        return place < len(self._hashes) and self._hashes[place] == hash(key)


@dataclass(kw_only=True)
class Findings:
    """Keys by problem. `missing` and `changed` list the assets stored under the key, because duplicates share a key."""

    checked: int = 0
    missing: dict[str, list[Asset]] = field(default_factory=lambda: defaultdict(list))
    changed: dict[str, list[Asset]] = field(default_factory=lambda: defaultdict(list))
    #: with the reason
    unread: dict[str, str] = field(default_factory=dict)
    orphaned: list[str] = field(default_factory=list)
    #: refused files that are kept for review
    rejected: list[str] = field(default_factory=list)
    known: KnownKeys = field(default_factory=KnownKeys)


def read_again(archive: Archive, pages: Iterable[list[Asset]], found: Findings, tick: Callable[[], None]) -> None:
    """Read every object and compare its hash; call `tick` after each. Raises ArchiveError if none can be read."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="verify")
    in_a_row = 0
    try:
        for page in pages:
            for asset, verdict in zip(page, pool.map(partial(_verdict, archive), page), strict=True):
                key = str(asset.object_key)
                found.known.add(key)
                found.known.add(Keys.sidecar_beside(key))
                found.known.add(Keys.thumbnail_beside(key))
                if verdict is Verdict.MISSING:
                    found.missing[key].append(asset)
                elif verdict is Verdict.CHANGED:
                    found.changed[key].append(asset)
                elif not isinstance(verdict, Verdict):
                    found.unread[key] = verdict
                in_a_row = 0 if isinstance(verdict, Verdict) else in_a_row + 1
                if in_a_row == GIVE_UP:
                    raise ArchiveError(f"stopped after {found.checked:,} objects: {verdict}")
                found.checked += isinstance(verdict, Verdict)
                tick()
    finally:
        pool.shutdown(cancel_futures=True)


def _verdict(archive: Archive, asset: Asset) -> Verdict | str:
    try:
        return archive.verify(str(asset.object_key), str(asset.sha256))
    except (ArchiveError, ConfigurationError) as error:
        return str(error)


def look_for_orphans(archive: Archive, inventory: Assets, found: Findings) -> None:
    """List the bucket; call this after `read_again` has covered the whole ledger."""
    strangers = []
    for listed in archive.list(f"{archive.keys.prefix}/" if archive.keys.prefix else ""):
        kind = archive.keys.kind(listed.object_key)
        if kind is Kind.REJECTED:
            found.rejected.append(listed.object_key)
        elif kind not in {Kind.MANIFEST, Kind.RESULTS, Kind.MARKER} and listed.object_key not in found.known:
            strangers.append(listed.object_key)
    if strangers:
        found.orphaned = _without_owner(archive, inventory, strangers)


def _without_owner(archive: Archive, inventory: Assets, strangers: list[str]) -> list[str]:
    # Ignore objects stored since the ledger was read, or being stored now: the row is written after the object.
    images = {key: archive.keys.images_beside(key) for key in strangers}
    known = inventory.known_keys([*strangers, *(image for found in images.values() for image in found)])
    owned = {key for key in strangers if not known.isdisjoint((key, *images[key]))}
    folders = {archive.keys.folder(one, lineage) for one, lineage in inventory.being_archived()}
    left = [key for key in strangers if key not in owned and key.rpartition("/")[0] not in folders]
    # A duplicate's sidecar has no object beside it.
    sidecars = [key for key in left if archive.keys.kind(key) is Kind.SIDECAR]
    with ThreadPoolExecutor(THREADS) as pool:
        owners = dict(zip(sidecars, pool.map(partial(described, archive), sidecars), strict=True))
    existing = inventory.existing_generations(sorted({owner for owner in owners.values() if owner}))
    return [key for key in left if owners.get(key) not in existing]


def described(archive: Archive, key: str) -> str | None:
    """Return the id of the generation that a sidecar describes; None if the object is not a sidecar."""
    body = b""
    with suppress(NotFound, ValueError, AttributeError), archive.read(key) as pieces:
        for piece in pieces:
            body += piece
            if len(body) > _LARGEST_SIDECAR:
                return None
        found = json.loads(body).get("id")
        return found if isinstance(found, str) else None
    return None
