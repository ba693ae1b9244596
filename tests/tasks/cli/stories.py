"""Generations that have come so far as a test needs them: through the ledger's own verbs, as the workers do it."""

from datetime import UTC, datetime, timedelta

from worker.errors import ProviderError, Rejected, Uncertain
from worker.generation import Accepted, Generation, GenerationRequest, Link, Operation, Outcome, Status
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Lost, Stored
from worker.ledger.dispatch import Limits
from worker.ledger.generations import NewGeneration, dedupe_of
from worker.ledger.outcome import News
from worker.ledger.submission import Submitted

MINUTE = timedelta(minutes=1)
#: what must never be shown: the signature of a link that still works
SIGNATURE = "0123456789abcdef"
LINK = f"https://cdn.discordapp.com/attachments/1/2/fox.png?ex=66aa&is=66bb&hm={SIGNATURE}"


def queued(
    ledger: Ledger,
    *prompts: str,
    batch: str | None = None,
    follow_up: tuple[str, ...] = (),
    operation: Operation = Operation.IMAGINE,
    batch_id: str | None = None,
    key: str | None = None,
) -> list[Generation]:
    wanted = [
        NewGeneration(
            provider="acedata",
            request=GenerationRequest(operation=operation, prompt=prompt),
            follow_up=follow_up,
            batch_id=batch_id,
            key=key,
            dedupe=key and dedupe_of(key),
        )
        for prompt in prompts or ("a fox",)
    ]
    return ledger.generations.create(wanted, batch)


TAKEN = Accepted("task-1")


def answered(ledger: Ledger, answer: Accepted | ProviderError = TAKEN, **wanted: object) -> tuple[str, str]:
    """One generation whose submission was answered so; its id and that of its attempt."""
    (generation,) = queued(ledger, **wanted)  # type: ignore[arg-type]
    ledger.dispatch.run("acedata", Limits(1000, 1000))
    (claim,) = ledger.submissions.claim(1, MINUTE)
    assert claim.generation.id == generation.id
    ledger.submissions.record([Submitted(claim.attempt_id, answer)], MINUTE)
    return generation.id, claim.attempt_id


def submitted(ledger: Ledger, task_id: str = "task-1", **wanted: object) -> str:
    return answered(ledger, Accepted(task_id), **wanted)[0]


def failed(ledger: Ledger, **wanted: object) -> str:
    error = Rejected(f"the picture {LINK} is not allowed", code="forbidden", status=403)
    return answered(ledger, error, **wanted)[0]


def timed_out(ledger: Ledger, task_id: str = "task-1", **wanted: object) -> str:
    """One that failed because its provider gave it up, and may deliver it yet."""
    generation_id, attempt_id = answered(ledger, Accepted(task_id), **wanted)
    outcome = Outcome(status=Status.FAILED, task_id=task_id, reason="timeout", message="no result for ten minutes")
    assert ledger.generations.apply_outcomes([News(attempt_id=attempt_id, outcome=outcome, cause="callback")]) == [
        "applied"
    ]
    return generation_id


def unconfirmed(ledger: Ledger, **wanted: object) -> str:
    return answered(ledger, Uncertain("no answer came in time", code="read_timeout"), **wanted)[0]


def succeeded(
    ledger: Ledger,
    task_id: str = "task-1",
    actions: tuple[str, ...] = ("upscale1", "upscale2", "reroll"),
    link: str = LINK,
    **wanted: object,
) -> str:
    generation_id, attempt_id = answered(ledger, Accepted(task_id), **wanted)
    outcome = Outcome(
        status=Status.SUCCEEDED,
        task_id=task_id,
        links=(Link(link),),
        actions=actions,
        parent={"image_id": "1234", "video_id": "5678"},
    )
    deadline = datetime.now(UTC) + timedelta(hours=24)
    assert ledger.generations.apply_outcomes(
        [News(attempt_id=attempt_id, outcome=outcome, cause="callback", deadlines=(deadline,))]
    ) == ["applied"]
    return generation_id


def archived(ledger: Ledger, task_id: str = "task-1", **wanted: object) -> str:
    generation_id = succeeded(ledger, task_id, **wanted)
    (claim,) = ledger.assets.claim(1, MINUTE)
    key = f"2026/11/21/single/{generation_id}/0.png"
    stored = Stored(
        index=0, object_key=key, sha256="ab" * 32, bytes=1_234_567, content_type="image/png", width=1024, height=768
    )
    ledger.assets.record([Archived(claim, (stored,), described=True)])
    return generation_id


def expired(ledger: Ledger, **wanted: object) -> str:
    generation_id = succeeded(ledger, **wanted)
    (claim,) = ledger.assets.claim(1, MINUTE)
    ledger.assets.record([Archived(claim, (Lost(0, f"{LINK} answers with status 404"),), described=False)])
    return generation_id


def told(ledger: Ledger, **text: object) -> str:
    """A generation whose result is a text."""
    generation_id, attempt_id = answered(ledger)
    outcome = Outcome(status=Status.SUCCEEDED, task_id="task-1", text=text)
    assert ledger.generations.apply_outcomes([News(attempt_id=attempt_id, outcome=outcome, cause="reply")]) == [
        "applied"
    ]
    (claim,) = ledger.assets.claim(1, MINUTE)
    key = f"2026/11/21/single/{generation_id}/0.json"
    stored = Stored(
        index=0, object_key=key, sha256="ab" * 32, bytes=80, content_type="application/json", width=None, height=None
    )
    ledger.assets.record([Archived(claim, (stored,), described=True)])
    return generation_id
