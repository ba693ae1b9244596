"""Submits generations: check all, then write all or none to the ledger, and return them.

The caller wakes the dispatch step afterwards.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from tasks.usecases.batch_file import oddities_of
from tasks.usecases.entry import Entry
from tasks.usecases.entry_check import (
    Defaults,
    check_entry,
    doubts_about,
)
from tasks.usecases.follow_up import FollowUpRequest, on_parent
from tasks.usecases.inputs import InputFiles
from tasks.usecases.names import batch_name
from tasks.usecases.notify_address import notify_address
from tasks.usecases.once import Once
from tasks.usecases.submission import Repetition, begun, waits_of_new
from worker.errors import LedgerUnavailable, RequestInvalid
from worker.generation import Generation
from worker.ledger.generations import NewGeneration
from worker.services import Services
from worker.subscribers import NotifyAddress

__all__ = ["FollowUpRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """`batch`: the name of their batch; without it, `is_batch` names the batch after the time.

    `notify`: the address for the events of the batch, or of the generations if they form none. `is_test`: the sandbox
    makes them, at no cost.
    """

    entries: Sequence[Entry]
    defaults: Defaults = field(default_factory=Defaults)
    batch: str | None = None
    is_batch: bool = False
    is_test: bool = False
    notify: str | None = field(default=None, repr=False)

    def defaults_with(self, files: InputFiles | None) -> Defaults:
        """Return the defaults that every check must use: what a test creates is a test."""
        return replace(self.defaults, files=files, is_test=self.is_test)

    @property
    def named_batch(self) -> str | None:
        """Return the name of the batch, marked for a test."""
        return None if self.batch is None else batch_name(self.batch, is_test=self.is_test)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Valid generations. `warnings`: for each, what is suspicious in its prompt, which can be submitted anyway.

    `notify`: where the events of the batch go.
    """

    wanted: tuple[NewGeneration, ...]
    warnings: tuple[tuple[str, ...], ...]
    batch: str | None = None
    is_batch: bool = False
    files: InputFiles | None = None
    notify: NotifyAddress | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    """`generations` are in the order of the entries; `existing`: the ids of those created by an earlier request.

    `waits`: why none of it is submitted yet, and what is reserved because no price is known; `known_in`: the names of
    the batches of those that exist already. Both are known once it is delivered.
    """

    generations: tuple[Generation, ...]
    warnings: tuple[tuple[str, ...], ...]
    existing: frozenset[str] = frozenset()
    waits: tuple[str, ...] = ()
    known_in: tuple[str, ...] = ()

    @property
    def is_repeated(self) -> bool:
        """Whether all of it existed before."""
        return len(self.existing) == len({one.id for one in self.generations})

    @property
    def batch_id(self) -> str | None:
        return next((one.batch_id for one in self.generations if one.batch_id), None)


def check(services: Services, request: SubmitRequest | FollowUpRequest) -> Checked:
    """Check a request without writing anything.

    Raises RequestInvalid or ConfigurationError for the first mistake, with its place unless it is in the defaults;
    NotFound for an unknown parent.
    """
    if isinstance(request, FollowUpRequest):
        files = InputFiles(services)
        notify = notify_address(services.settings, request.notify)
        new = replace(on_parent(services, request, files), notify=notify)
        return Checked(wanted=(new,), warnings=((),), files=files)
    for entry, told in repeated_keys(request.entries):
        raise RequestInvalid(f"{entry.place}: {told}")
    options = frozenset(name for entry in request.entries for name in entry.options)
    files = request.defaults.files or InputFiles(services)
    defaults = request.defaults_with(files)
    wanted = [check_entry(services, entry, defaults, options) for entry in request.entries]
    return with_warnings(services, request, request.entries, wanted, files)


def with_warnings(
    services: Services,
    request: SubmitRequest,
    entries: Sequence[Entry],
    wanted: Sequence[NewGeneration],
    files: InputFiles | None,
) -> Checked:
    """Return the valid generations, one per entry, with warnings about each. Raises RequestInvalid for `notify`."""
    notify = notify_address(services.settings, request.notify)
    if notify is not None and request.named_batch is None and not request.is_batch:
        wanted, notify = [replace(new, notify=new.notify or notify) for new in wanted], None
    warnings = tuple(
        (*said, *doubts_about(services, entry.place, new))
        for entry, said, new in zip(entries, oddities_of(entries), wanted, strict=True)
    )
    return Checked(
        wanted=tuple(wanted), warnings=warnings, batch=request.named_batch, is_batch=request.is_batch, files=files,
        notify=notify,
    )  # fmt: skip


def submit(
    services: Services,
    checked: Checked,
    repetition: Repetition = Repetition(),  # noqa: B008  frozen
    *,
    deliver: Callable[[SubmitResult], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> SubmitResult:
    """Write all of it or nothing; generations with a known key are returned unchanged.

    `deliver` passes the result to the caller: until it returns, the submission counts as interrupted, and the same
    request completes it. `tell`: messages for the waiting user. Raises RequestInvalid if a key belongs to a different
    request, LedgerUnavailable or ArchiveError (for a local image) if nothing was written, and CommitUnknown if
    something may have been.
    """
    if checked.files is not None:
        checked.files.store()
    began = services.clock()
    with begun(services, checked.wanted, checked.batch, repetition, tell, notify=checked.notify) as submission:
        made = submission.write(_batch_name(checked, began))
        existing = frozenset(one.id for one in made if one.created_at < began)
        result = SubmitResult(generations=tuple(made), warnings=checked.warnings, existing=existing)
        deliver(result)
        submission.forget()
    return replace(result, waits=waits_of_new(services, checked.wanted), known_in=_batches(services, made, existing))


def submit_once(services: Services, checked: Checked, once: Once | None) -> SubmitResult:
    """As `submit`, for a program, which repeats its request instead of waiting: `once` is its idempotency key.

    Without it, each generation gets its own key. Also raises KeyReused and KeyInUse; nothing is retried.
    """
    if checked.files is not None:
        checked.files.store()
    wanted = checked.wanted
    if once is not None:
        # Prevents duplicates even after the idempotency key is pruned.
        named = (f"api:{once.owner}/{once.key}/{number}" for number in range(1, len(wanted) + 1))
        wanted = tuple(replace(new, dedupe=new.dedupe or name) for new, name in zip(wanted, named, strict=True))
    made = services.ledger.generations.create_once(wanted, _batch_name(checked, services.clock()), once, checked.notify)
    return SubmitResult(
        generations=tuple(made.generations),
        warnings=checked.warnings,
        existing=frozenset(one.id for one in made.generations) - made.new,
        waits=waits_of_new(services, wanted),
    )


def _batch_name(checked: Checked, now: datetime) -> str | None:
    is_test = any(one.is_test for one in checked.wanted)
    return checked.batch or (batch_name(f"{now:%Y-%m-%d-%H%M%S}", is_test=is_test) if checked.is_batch else None)


def repeated_keys(entries: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    """Yield each entry with the key of an earlier one, and a sentence that says so."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.key is not None and (first := seen.setdefault(entry.key, entry)) is not entry:
            yield entry, f"the key {entry.key!r} is already used in {first.place}"


def _batches(services: Services, made: Sequence[Generation], existing: Collection[str]) -> tuple[str, ...]:
    ids = {one.batch_id for one in made if one.id in existing and one.batch_id}
    with suppress(LedgerUnavailable):
        return tuple(sorted(services.ledger.assets.batch_names(ids).values())) if ids else ()
    return ()
