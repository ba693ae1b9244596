"""The progress of a batch as a paragraph, shared by `batch show` and `batch watch`."""

from collections.abc import Iterator, Mapping

from tasks.cli.ui.output import many, one_line
from tasks.cli.ui.style import age
from tasks.durations import elapsed
from tasks.usecases.batches.show import BatchDetails, ListedBatch
from tasks.usecases.names import short_id
from tasks.usecases.scope import INTERESTING
from worker.generation import FINAL, State, iso
from worker.pricing import as_text
from worker.secrets import redact, secrets_hidden

#: failure reasons that are listed one by one
_REASONS = 5


def counted(counts: Mapping[State, int]) -> str:
    """Such as `93 archived, 3 failed, 24 queued`."""
    states = sorted((state for state in counts if counts[state]), key=lambda one: (one not in FINAL, _place(one)))
    return ", ".join(f"{counts[state]:,} {state}" for state in states)


def paragraph(details: BatchDetails) -> Iterator[str]:
    batch, facts = details.batch, details.batch.facts
    source = f", from {one_line(facts.source)}" if facts.source else ""
    yield f"{one_line(facts.name)}  {short_id(facts.id)}{source}, {age(batch.age)} old: {_state(batch)}"
    of = f"{batch.done:,} of {batch.total:,} done"
    yield f"{of}: {counted(batch.counts)}" if batch.total else of
    if details.per_minute and batch.done < batch.total:
        left = f", about {elapsed(details.left)} left" if details.left is not None else ""
        yield f"{details.per_minute:,.0f} a minute lately{left}" if details.per_minute >= 1 else f"slow{left}"
    if batch.spent is not None:
        yield _money(details)
    if details.at_risk:
        yield f"{details.at_risk:,} results at risk: `darkroom at-risk` shows them"
    if details.decisions:
        waits = f"{many(details.decisions, 'decision')} waiting"
        yield f"{waits}: see `darkroom approvals`"
    if details.failures:
        told = [f"{one.number:,} {_reason(one.reason or one.state)}" for one in details.failures[:_REASONS]]
        more = len(details.failures) - _REASONS
        yield f"failed: {', '.join(told)}{f' and {more} other reasons' if more > 0 else ''}"
    for wait in details.waits:
        yield f"waiting: {one_line(redact(wait.told))}"


def _state(batch: ListedBatch) -> str:
    facts = batch.facts
    parts = [f"{batch.state} until {iso(facts.start_at)}" if batch.state == "scheduled" else str(batch.state)]
    if facts.max_in_flight is not None:
        parts.append(f"at most {facts.max_in_flight:,} at providers")
    return ", ".join(parts)


def _money(details: BatchDetails) -> str:
    prices, money = details.prices, details.batch.money
    assert prices is not None  # noqa: S101 - only called with prices
    of = "" if details.cap is None else f" of at most {prices.text(details.cap)}"
    more = ", ".join(
        f"{as_text(amount)} {what}"
        for what, amount in (("reserved", money.reserved), ("perhaps", money.possible))
        if amount
    )
    return f"spent {details.batch.spent}{of}{more and f' ({more})'}"


def _reason(reason: str) -> str:
    return one_line(str(secrets_hidden(reason))).replace("_", " ")


def _place(state: State) -> int:
    return -1 if state is State.ARCHIVED else INTERESTING.index(state)
