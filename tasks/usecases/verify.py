"""Reads stored results and compares them with the ledger; on request, restores missing or changed ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from tasks.usecases.audit import Findings, look_for_orphans, read_again
from tasks.usecases.names import find_batch
from tasks.usecases.repair import put_back
from tasks.usecases.selection import pages_of
from worker.errors import DarkroomError, RequestInvalid
from worker.generation import Asset
from worker.ledger.assets import Extent
from worker.secrets import redact
from worker.services import Services

#: shows progress: takes the maximum number of results, yields the function to call after each
Progress = Callable[[int], AbstractContextManager[Callable[[], None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """All stored results, one batch, those with all these labels, a time span, or a random sample.

    Raises RequestInvalid for more than one of these.
    """

    batch: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    since: timedelta | None = None
    sample: int | None = None
    repair: bool = False

    def __post_init__(self) -> None:
        if sum(given is not None for given in self._parts) > 1:
            raise RequestInvalid("give only one of --batch, --label, --since and --sample")

    @property
    def is_whole(self) -> bool:
        return all(given is None for given in self._parts)

    @property
    def _parts(self) -> tuple[object, ...]:
        return self.batch, self.labels or None, self.since, self.sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Object keys by problem; `missing` and `changed` list the assets stored under the key.

    `unread`: with the reason. `orphaned`: objects of no generation; known only after a complete verification.
    `rejected`: refused files that are kept. `not_repaired`: with the reason; None if no repair was requested.
    """

    checked: int
    missing: Mapping[str, tuple[Asset, ...]]
    changed: Mapping[str, tuple[Asset, ...]]
    unread: Mapping[str, str]
    orphaned: tuple[str, ...]
    rejected: tuple[str, ...]
    not_repaired: Mapping[str, str] | None

    @property
    def damaged(self) -> tuple[str, ...]:
        return (*self.missing, *self.changed)

    @property
    def is_intact(self) -> bool:
        """Whether nothing is damaged (or all damage was repaired), orphaned or unread."""
        left = self.damaged if self.not_repaired is None else self.not_repaired
        return not (left or self.orphaned or self.unread)


def verify(
    here: Services, request: VerifyRequest, progress: Progress = lambda _: nullcontext(lambda: None)
) -> Verification:
    """Verify the results. Raises as `find_batch` does; ArchiveError or ConfigurationError for the bucket."""
    found = Findings()
    total, pages = _chosen(here, request)
    here.archive.check()
    with progress(total) as tick:
        read_again(here.archive, pages, found, tick)
    if request.is_whole:
        look_for_orphans(here.archive, here.ledger.assets, found)
    return Verification(
        checked=found.checked,
        missing={key: tuple(assets) for key, assets in found.missing.items()},
        changed={key: tuple(assets) for key, assets in found.changed.items()},
        unread=dict(found.unread),
        orphaned=tuple(found.orphaned),
        rejected=tuple(found.rejected),
        not_repaired=_repaired(here, found) if request.repair else None,
    )


def _chosen(here: Services, request: VerifyRequest) -> tuple[int, Iterable[list[Asset]]]:
    inventory = here.ledger.assets
    if request.sample is not None:
        assets = inventory.sample_stored(request.sample)
        return len(assets), [assets]
    if request.labels:
        return sum(map(len, _pages_of(here, request.labels))), _pages_of(here, request.labels)
    extent = Extent(
        find_batch(here.ledger, request.batch) if request.batch is not None else None,
        here.clock() - request.since if request.since is not None else None,
    )
    return inventory.count_stored(extent), inventory.stored_pages(extent)


def _pages_of(here: Services, labels: Mapping[str, str]) -> Iterator[list[Asset]]:
    for page in pages_of(here.ledger, labels=labels):
        yield here.ledger.assets.stored_of([one.id for one in page])


def _repaired(here: Services, found: Findings) -> dict[str, str]:
    """Repair what is possible; return why the rest could not be repaired."""
    failed = {}
    for state, keys in (("missing", found.missing), ("changed", found.changed)):
        for key, assets in keys.items():
            reason = _put_back(here, assets, state)
            if reason is not None:
                failed[key] = redact(reason)
    return failed


def _put_back(here: Services, assets: list[Asset], state: str) -> str | None:
    reason = None
    for asset in assets:
        try:
            put_back(here, asset, state)
        except DarkroomError as error:
            reason = reason or str(error)
        else:
            return None
    return reason
