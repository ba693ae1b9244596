"""Generations in every state, made the way the program makes them: one verb of the ledger after the other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

from tests.clock import NOON
from tests.patience import patient
from worker.generation import Accepted, Generation, GenerationRequest, Link, Operation, Outcome, State, Status
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Stored
from worker.ledger.changes import Person
from worker.ledger.dispatch import Limits
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.ledger.outcome import Delivery, News
from worker.ledger.submission import Claim, Decision, Silent, Submitted

PROVIDER = "acedata"
LEASE = timedelta(seconds=120)
POLL_AFTER = timedelta(seconds=60)
PLENTY = Limits(rate=10_000, in_flight=10_000)

Result = TypeVar("Result")


def new(prompt: str = "a red fox", *, key: str | None = None, **facts: Any) -> NewGeneration:
    request = GenerationRequest(
        operation=Operation.IMAGINE, prompt=prompt, options=facts.pop("options", {}), action=facts.pop("action", None)
    )
    dedupe = facts.pop("dedupe", dedupe_of(key) if key else None)
    return NewGeneration(provider=facts.pop("provider", PROVIDER), request=request, key=key, dedupe=dedupe, **facts)


def queued(ledger: Ledger, count: int = 1, *, batch: str | None = None, **facts: Any) -> list[Generation]:
    return ledger.generations.create([new(f"fox {number}", **facts) for number in range(count)], batch)


def claimed(ledger: Ledger, count: int = 1, *, batch: str | None = None, **facts: Any) -> list[Claim]:
    """Claimed for their POST, in the order of their creation."""
    wanted = [generation.id for generation in queued(ledger, count, batch=batch, **facts)]
    ledger.dispatch.run(PROVIDER, PLENTY)
    claims = {claim.generation.id: claim for claim in ledger.submissions.claim(count, LEASE)}
    return [claims[generation_id] for generation_id in wanted]


def submitted(ledger: Ledger, count: int = 1, **facts: Any) -> list[Claim]:
    """Accepted by the provider, each with the task_id that `task_of` names."""
    claims = claimed(ledger, count, **facts)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in claims], POLL_AFTER)
    return claims


def succeeded(ledger: Ledger, count: int = 1, *, links: int = 1, **facts: Any) -> list[Claim]:
    claims = submitted(ledger, count, **facts)
    ledger.generations.apply_outcomes([success(claim, links=links) for claim in claims])
    return claims


def archived(ledger: Ledger, count: int = 1, **facts: Any) -> list[str]:
    ids = [claim.generation.id for claim in succeeded(ledger, count, **facts)]
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(count, LEASE)])
    return ids


def ask(ledger: Ledger, limit: int = 100, poll_after: timedelta = POLL_AFTER, **facts: Any) -> list[Silent]:
    """Ask for those that are silent, and hear nothing new."""
    silent = ledger.submissions.claim_polls(limit, LEASE, poll_after, **facts)
    ledger.submissions.record_polled(silent)
    return silent


def resubmit(ledger: Ledger, claim: Claim) -> None:
    """As a person does who takes the risk of paying twice."""
    ledger.submissions.resolve([claim.generation.id], Decision.RESUBMIT, Person("somebody"))


def task_of(claim: Claim) -> str:
    return f"task-{claim.attempt_id[:12]}"


def accepted(claim: Claim) -> Accepted:
    return Accepted(task_of(claim))


def success(claim: Claim, *, links: int = 1, cause: str = "callback", **facts: Any) -> News:
    facts = {"task_id": task_of(claim), "actions": ("upscale1", "upscale2"), "parent": {"image_id": "i1"}} | facts
    found = tuple(Link(f"https://cdn.example/{claim.attempt_id}/{number}.png") for number in range(links))
    outcome = Outcome(status=Status.SUCCEEDED, progress=100, links=found, **facts)
    return News(
        attempt_id=claim.attempt_id, outcome=outcome, cause=cause, deadlines=(NOON + timedelta(hours=24),) * links
    )


def failure(claim: Claim, *, cause: str = "callback", **facts: Any) -> News:
    facts = {"task_id": task_of(claim), "reason": "forbidden", "message": "the prompt is forbidden"} | facts
    return News(attempt_id=claim.attempt_id, outcome=Outcome(status=Status.FAILED, **facts), cause=cause)


def progress(claim: Claim, percent: int | None, *, cause: str = "callback", **facts: Any) -> News:
    facts = {"task_id": task_of(claim)} | facts
    return News(
        attempt_id=claim.attempt_id, outcome=Outcome(status=Status.IN_PROGRESS, progress=percent, **facts), cause=cause
    )


def delivery(attempt_id: str, body: bytes = b"{}", digest: str = "d1", **facts: Any) -> Delivery:
    facts = {
        "received_at": NOON,
        "remote_address": "192.0.2.7",
        "headers": {"Content-Type": "application/json"},
    } | facts
    return Delivery(attempt_id=attempt_id, provider=PROVIDER, body=body, digest=digest, **facts)


def stored(index: int = 0) -> Stored:
    return Stored(
        index=index,
        object_key=f"pictures/{index}.png",
        sha256="ab" * 32,
        bytes=1234,
        content_type="image/png",
        width=1024,
        height=768,
    )


def all_stored(claim: ArchiveClaim) -> Archived:
    waiting = [asset.index for asset in claim.assets if asset.state == "waiting"]
    return Archived(claim, tuple(stored(index) for index in waiting), described=True)


def state_of(ledger: Ledger, generation: str | Claim | Generation) -> State:
    return one(ledger, generation).state


def one(ledger: Ledger, generation: str | Claim | Generation) -> Generation:
    if isinstance(generation, Claim):
        generation = generation.generation
    generation_id = generation if isinstance(generation, str) else generation.id
    return ledger.generations.get([generation_id])[0]


def history(ledger: Ledger, claim: Claim) -> list[State]:
    generation_id = claim.generation.id
    return [transition.to_state for transition in ledger.generations.transitions_of([generation_id])[generation_id]]


def events_of(ledger: Ledger, claim: Claim) -> list[str]:
    return [event.type for event in ledger.generations.story(claim.generation.id).events]


def attempts_of(ledger: Ledger, claim: Claim) -> list[str]:
    return [attempt.state for attempt in ledger.generations.story(claim.generation.id).attempts]


def at_once(*calls: Callable[[], Result]) -> list[Result | Exception]:
    """Call all of them in threads that start at the same moment; what each returned or raised."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result | Exception:
        barrier.wait(patient(10))
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def flat(lists: Sequence[Any]) -> list[Any]:
    """What several calls at once returned, in one list; raises what one of them raised."""
    for result in lists:
        if isinstance(result, Exception):
            raise result
    return [item for items in lists for item in items]
