"""Checks a whole file before anything is written: every mistake in its rows, and what they cost."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from tasks.shown import shown
from tasks.usecases.batch_file import MAX_SUBMISSIONS, Counted, Fault, misspelt, oddities_of
from tasks.usecases.batches.estimate import Estimate, Estimator
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.entry import Entry
from tasks.usecases.entry_check import EntryInvalid, doubts_about, generation_of, other_mistakes
from worker.errors import RequestInvalid
from worker.generation import Operation
from worker.ledger.generations import NewGeneration
from worker.services import Services

#: maximum number of warnings and reasons kept; a file may have one for each row
_KEPT = 1000
_REASONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCheck:
    """`submissions`: those that go to it first; `alternative`: those that may go to it instead.

    `cannot`: why other rows cannot be submitted to it, with their numbers.
    """

    name: str
    submissions: int
    alternative: int
    cannot: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCheck:
    """`rows`: of the file, `invalid` of them have errors; `submissions`: that the other rows make.

    `unkeyed`: how many of these have no key of their own. `errors` are in file order; `more_warnings`: how many were
    not kept. `estimate`: None without prices.
    """

    rows: int
    invalid: int
    submissions: int
    unkeyed: int
    errors: tuple[Fault, ...]
    warnings: tuple[str, ...]
    more_warnings: int
    providers: tuple[ProviderCheck, ...]
    estimate: Estimate | None


class RowsInvalid(RequestInvalid):
    """Rows of the file are invalid, so nothing was written; `found` has all mistakes."""

    def __init__(self, message: str, found: BatchCheck) -> None:
        super().__init__(message)
        self.found = found


def check_batch(
    services: Services,
    request: BatchRequest,
    *,
    max_submissions: int = MAX_SUBMISSIONS,
    counted: Callable[[Counted], None] = lambda _: None,
    take: Callable[[NewGeneration], None] = lambda _: None,
) -> BatchCheck:
    """Check all rows; only `take` keeps the valid ones.

    `counted` gets the number of rows and submissions before anything is checked. Raises RequestInvalid if the file as a
    whole cannot be a batch, and ConfigurationError if a provider of the request is not set up.
    """
    file = request.file
    providers = request.providers or (request.defaults.provider,)
    for name in providers:
        services.provider_for(name, is_test=request.is_test)
    if request.template is None and request.defaults.operation is Operation.IMAGINE:
        file.require_prompts()
    number = file.count(request.template)
    counted(number)
    # Count rows that make no submissions, too: each has a mistake, which is kept.
    if max(number.rows, number.submissions) > max_submissions:
        many = f"makes {number.submissions:,} submissions" if number.submissions > max_submissions else ""
        raise RequestInvalid(
            f"{file.name} {many or f'has {number.rows:,} rows'}, above the limit of {max_submissions:,} "
            "(--max-submissions): split the file, or raise the limit"
        )
    checking = _Checking(services, request, providers)
    for new in checking.checked():
        take(new)
    return checking.result(number)


@dataclass(slots=True)
class _Tally:
    submissions: int = 0
    alternative: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class _Checking:
    def __init__(self, services: Services, request: BatchRequest, providers: tuple[str, ...]) -> None:
        self._services = services
        self._request = request
        self._defaults = replace(request.defaults, is_test=request.is_test)
        self._providers = providers
        self._errors: list[Fault] = []
        self._warnings: list[str] = []
        self._left_out = self._unkeyed = 0
        self._tallies = {name: _Tally() for name in providers}
        prices = services.prices
        self._estimator = Estimator(services, prices) if prices and not request.is_test else None

    def checked(self) -> Iterator[NewGeneration]:
        """Yield valid generations; mistakes are kept for the result."""
        request, file = self._request, self._request.file
        if file.other_sheets:
            others = ", ".join(file.other_sheets)
            self._warn(f"{file.name}: only the sheet {file.sheet} is read, not {others} (--sheet NAME)")
        for column, meant in misspelt(file.columns):
            self._warn(f"{file.name}, column {column}: it has no effect by itself; did you mean {meant}?")
        for one in file.rows(request.template, request.expand_limit):
            if isinstance(one, Fault):
                self._errors.append(one)
            elif (new := self._generation(one)) is not None:
                self._note(one, new)
                yield new

    def result(self, counted: Counted) -> BatchCheck:
        submissions = sum(tally.submissions for tally in self._tallies.values())
        return BatchCheck(
            rows=counted.rows,
            invalid=len({error.row for error in self._errors}),
            submissions=submissions,
            unkeyed=self._unkeyed,
            errors=tuple(sorted(self._errors, key=lambda error: error.line or 0)),
            warnings=tuple(self._warnings),
            more_warnings=self._left_out,
            providers=tuple(
                ProviderCheck(
                    name=name,
                    submissions=tally.submissions,
                    alternative=tally.alternative,
                    cannot=tuple(tally.reasons.most_common()),
                )
                for name, tally in self._tallies.items()
            ),
            estimate=self._estimator.result(self._name) if self._estimator else None,
        )

    @property
    def _name(self) -> str:
        return self._request.name or PurePath(self._request.file.name).stem

    def _generation(self, entry: Entry) -> NewGeneration | None:
        """Return the generation at the first provider that supports it; if none does, keep the faults: None."""
        names = self._providers
        if entry.provider is not None:
            names = tuple(dict.fromkeys(name.strip() for name in entry.provider.split(",")))
        found: list[NewGeneration] = []
        failed: list[tuple[str, EntryInvalid]] = []
        for name in names:
            try:
                found.append(generation_of(self._services, entry, self._defaults, name))
            except EntryInvalid as invalid:
                failed.append((name, invalid))
        for name, mistake in failed:
            self._count_reason(name, str(mistake))
        if not found:
            self._refuse(entry, failed)
            return None
        first, *others = found
        # In the sandbox, no provider is ever out of service.
        is_alone = first.is_test or not others
        return first if is_alone else replace(first, providers=tuple(one.provider for one in others))

    def _note(self, entry: Entry, new: NewGeneration) -> None:
        for sentence in (*oddities_of([entry])[0], *doubts_about(self._services, entry.place, new)):
            self._warn(sentence)
        self._unkeyed += new.key is None
        self._tally(new.provider).submissions += 1
        for name in new.providers:
            self._tally(name).alternative += 1
        if self._estimator:
            self._estimator.add(new)

    def _tally(self, name: str) -> _Tally:
        return self._tallies.setdefault(name, _Tally())

    def _count_reason(self, name: str, reason: str) -> None:
        # Do not create a tally for every misspelled name in a column.
        tally = self._tallies.get(name)
        if tally is not None and (reason in tally.reasons or len(tally.reasons) < _REASONS):
            tally.reasons[reason] += 1

    def _warn(self, sentence: str) -> None:
        if len(self._warnings) < _KEPT:
            self._warnings.append(sentence)
        else:
            self._left_out += 1

    def _refuse(self, entry: Entry, failed: list[tuple[str, EntryInvalid]]) -> None:
        name, first = failed[0]
        if len({str(invalid) for _, invalid in failed}) == 1:
            others = other_mistakes(self._services, entry, self._defaults, name, first)
            found = [_fault(entry, invalid, str(invalid)) for invalid in (first, *others)]
        else:
            together = "; ".join(f"{name}: {invalid}" for name, invalid in failed)
            found = [_fault(entry, first, f"none of the providers supports it: {together}")]
        # The entries that a template makes from one row are often wrong in the same way.
        self._errors += [one for one in found if one not in self._errors[-_REASONS:]]


def _fault(entry: Entry, invalid: EntryInvalid, message: str) -> Fault:
    """Return the fault with the column that it is about, if the entry has that column."""
    place = entry.place_of(invalid.at)
    named = entry.said & (entry.columns.keys() | entry.options.keys())
    word = next((word for word in (*sorted(invalid.about), *sorted(invalid.parts)) if word in named), None)
    column = entry.columns.get(word, word) if word else place.column
    value = entry.prompt[invalid.at or 0 :] if word in {None, "prompt"} else entry.options.get(word)
    if word in {"provider", "operation", "follow_up"}:
        value = getattr(entry, word)
    return Fault(place.line, column, None if value in (None, "") else shown(value), message, entry.row_number)
