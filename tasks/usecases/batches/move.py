"""Moves the unsent part of a batch to another provider."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.usecases.names import find_batch
from tasks.usecases.provider_choice import able_providers
from worker.errors import LedgerUnavailable, RequestInvalid
from worker.generation import State
from worker.ledger.dispatch import Candidate, ProviderMove
from worker.services import Services
from worker.steps import Step

#: generations read and decided together
_PAGE = 500
_WHY = "its batch was moved by a person"


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """`providers`: in order of preference; the first that can make a generation gets it, whatever its state."""

    batch: str
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inexpressible:
    """`number` generations that a provider cannot make, for the same `reason`; `example`: the id of one."""

    provider: str
    reason: str
    number: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`moved`: how many went to each provider; `left`: how many were left alone, by reason.

    `inexpressible`: for generations that none of the providers can make.
    """

    batch_id: str
    moved: Mapping[str, int]
    left: Mapping[str, int]
    inexpressible: tuple[Inexpressible, ...]

    @property
    def wakes(self) -> tuple[Step, ...]:
        return (Step.DISPATCH,) if self.moved else ()


def move(here: Services, request: MoveRequest) -> Moved:
    """Move its queued generations without an attempt, a few at a time.

    Raises NotFound; ConfigurationError for a provider that is not configured; RequestInvalid while submissions are
    paused after a restore; LedgerUnavailable, which states how many moved before.
    """
    batch_id = find_batch(here.ledger, request.batch)
    providers = [here.provider(name) for name in request.providers]
    if (gate := here.ledger.restore.state()) is not None and gate.complaint is not None:
        raise RequestInvalid(f"nothing was moved, because some of it may already have been sent: {gate.complaint}")
    moved: Counter[str] = Counter()
    left: Counter[str] = Counter()
    refused: dict[tuple[str, str], list[str]] = {}
    after = ""
    try:
        while page := here.ledger.dispatch.queued_of_batch(batch_id, after, _PAGE):
            moves = []
            for row in page:
                if (obstacle := _obstacle(row)) is not None:
                    left[obstacle] += 1
                    continue
                able, refusals = able_providers(providers, row.request, row.follow_up)
                if not able:
                    left["cannot be made there"] += 1
                    for name, error in refusals.items():
                        refused.setdefault((name, str(error)), []).append(row.id)
                elif (to := able[0].name) == row.provider:
                    left[f"already at {to}"] += 1
                else:
                    others = tuple(one.name for one in able[1:])
                    moves.append(
                        ProviderMove(generation_id=row.id, left=row.provider, to=to, providers=others, why=_WHY)
                    )
            done = here.ledger.dispatch.move(moves)
            moved.update(one.to for one in moves if one.generation_id in done)
            if len(done) < len(moves):
                left["sent in the meantime"] += len(moves) - len(done)
            after = page[-1].id
    except LedgerUnavailable as error:
        before = f"{moved.total()} moved before this: repeat the command for the rest; nothing moves twice"
        raise type(error)(f"{error}; {before}") from error
    counts = here.ledger.generations.counts(batch_id)
    left.update({str(state): number for state, number in counts.items() if state is not State.QUEUED and number})
    found = (
        Inexpressible(provider=name, reason=reason, number=len(ids), example=ids[0])
        for (name, reason), ids in refused.items()
    )
    return Moved(
        batch_id=batch_id,
        moved=dict(moved),
        left=dict(left),
        inexpressible=tuple(sorted(found, key=lambda one: -one.number)),
    )


def _obstacle(row: Candidate) -> str | None:
    """Return why it stays where it is, whatever the providers support."""
    if row.is_test:
        return "tests, which only the sandbox makes"
    if row.action is not None or row.parent_id is not None:
        return "follow-ups, which stay with their parents"
    if row.was_sent:
        return "already sent"
    return "about to be sent" if row.dispatched_at is not None else None
