"""Options of a command that are not applied because what it names already exists without them."""

from collections.abc import Iterator, Mapping, Sequence

from tasks.usecases.batches.request import BatchRequest
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.generations import BatchFacts, NewGeneration
from worker.pricing import as_text

#: existing rows that are compared with the command
_SAMPLE = 1000

#: what the command would make from a row, and what exists
_Pair = tuple[NewGeneration, Generation]


def unapplied(
    ledger: Ledger,
    batch: BatchFacts | None,
    existing: Mapping[int, str],
    wanted: Sequence[NewGeneration],
    request: BatchRequest,
) -> tuple[str, ...]:
    """Return options that the batch, or some of its rows, do not have. `existing`: position in `wanted` → id."""
    if batch is None or not existing:
        return ()
    sample = list(existing.items())[:_SAMPLE]
    known = ledger.generations.get([generation_id for _, generation_id in sample])
    pairs = [(wanted[position], one) for (position, _), one in zip(sample, known, strict=True)]
    return (
        *_of_batch(batch, request),
        *_notify(ledger, batch, request),
        *_of_rows(pairs, request),
        *_labels(ledger, pairs, request),
    )


def _of_batch(batch: BatchFacts, request: BatchRequest) -> Iterator[str]:
    cost = None if batch.max_cost is None else as_text(batch.max_cost)
    wanted = None if request.max_cost is None else as_text(request.max_cost)
    for option, given, there in (
        (
            "--start-at",
            request.start_at and request.start_at.isoformat(),
            batch.start_at and batch.start_at.isoformat(),
        ),
        ("--max-cost", wanted, cost),
        ("--max-in-flight", request.max_in_flight, batch.max_in_flight),
    ):
        if given is not None and given != there:
            yield f"{option} {given} (the batch has {'none' if there is None else there})"


def _notify(ledger: Ledger, batch: BatchFacts, request: BatchRequest) -> Iterator[str]:
    known = None if request.notify is None else ledger.events.notify_address(batch.id)
    if request.notify is not None and (known is None or known.url != request.notify):
        # Only the host of an address may be shown.
        there = "none" if known is None else f"another, {known.origin}/…"
        yield f"--notify (the batch has {there})"


def _of_rows(pairs: Sequence[_Pair], request: BatchRequest) -> Iterator[str]:
    defaults = request.defaults
    # A later move to another provider is not a difference.
    unmoved = [pair for pair in pairs if not pair[1].provider_changes]
    if request.providers and any(
        (one.provider, one.providers) != (known.provider, known.providers) for one, known in unmoved
    ):
        yield f"--provider {','.join(request.providers)}"
    for name, value in defaults.options.items():
        if any(one.request.options.get(name) != known.options.get(name) for one, known in pairs):
            yield f"--option {name}={value}"
    if defaults.follow_up and any(one.follow_up != known.follow_up for one, known in pairs):
        yield f"--follow-up {defaults.follow_up}"
    if defaults.recipe and any((one.recipe and one.recipe.sha256) != known.recipe for one, known in pairs):
        yield f"--recipe {defaults.recipe} (rows keep the recipe that they started with)"
    if defaults.priority and any(one.priority != known.priority for one, known in pairs):
        yield f"--priority {defaults.priority}"
    if request.template is not None and any(one.request.prompt != known.prompt for one, known in pairs):
        yield "--template"


def _labels(ledger: Ledger, pairs: Sequence[_Pair], request: BatchRequest) -> Iterator[str]:
    found = ledger.generations.labels_of([known.id for _, known in pairs]) if request.defaults.labels else {}
    for name, value in request.defaults.labels.items():
        if any(one.labels.get(name) != found.get(known.id, {}).get(name) for one, known in pairs):
            yield f"--label {name}={value}"
