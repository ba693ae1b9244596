"""Writes a request to the ledger once, even if the connection breaks or an interrupted command is repeated."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tasks.usecases.submission.note import (
    KEPT,
    Note,
    digest_in,
    hold_note,
    interrupted_note,
    new_submission_id,
    remove_interrupted_notes,
    remove_old_notes,
    told_time,
    write_note,
)
from tasks.usecases.submission.patience import Patience
from worker.errors import RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration
from worker.secrets import redact
from worker.services import Services
from worker.settings import Settings
from worker.subscribers import NotifyAddress


@dataclass(frozen=True, slots=True)
class Repetition:
    """`submission_id`: complete this one, named by an error. `anew`: submit a second one despite an interrupted one."""

    submission_id: str | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request; each generation has a `dedupe` key made before the first attempt to write it.

    `id` is None if the user's own keys suffice; `note` is None if none is needed or possible. `is_repeated`: an earlier
    process may have written it. `tell`: messages for the waiting user.
    """

    ledger: Ledger
    wanted: list[NewGeneration]
    id: str | None
    note: Note | None
    is_repeated: bool
    tell: Callable[[str], None]
    notify: NotifyAddress | None = None

    def write(self, batch: str | None) -> list[Generation]:
        """Write it. Raises CommitUnknown, with the next step, if the ledger is gone and may have written it."""
        patience = Patience(tell=self.tell, go_on=self._how_to_go_on, forget=self.forget)

        def write() -> list[Generation]:
            return self.ledger.generations.create(self.wanted, batch, self.notify)

        try:
            return patience.write(write, lambda: self.is_repeated)
        except KeyboardInterrupt:
            self.tell(f"interrupted: {self._how_to_go_on()}")
            raise

    def forget(self) -> None:
        """Forget the request: the user has the ids, or nothing was written. Repeating it is then a new submission."""
        if self.note:
            self.note.remove()

    def _how_to_go_on(self) -> str:
        look = "`darkroom list` shows whether it was"
        if self.id is None:
            return f"it may have been written; {look}. Repeat the command to complete it: its keys prevent duplicates"
        if self.note is None:
            how = f"Repeat the command with `--submission {self.id}` to complete it without duplicates"
        else:
            hours = f"{KEPT.total_seconds() / 3600:g} hours"
            how = (
                f"Repeat the command within {hours} to complete it without duplicates; with "
                f"`--submission {self.id}` also later, or with another data folder"
            )
        return f"it may have been written; {look}. {how}"


@contextmanager
def begun(
    services: Services,
    wanted: Sequence[NewGeneration],
    batch: str | None,
    repetition: Repetition,
    tell: Callable[[str], None],
    *,
    notify: NotifyAddress | None = None,
) -> Iterator[Submission]:
    """Yield a submission; this process holds its note while the block runs.

    `batch`: its name, unless that depends on the time; `notify`: where its events go. Raises RequestInvalid for the id
    of a different request.
    """
    given_id = repetition.submission_id
    if all(new.dedupe for new in wanted):
        yield Submission(
            ledger=services.ledger, wanted=list(wanted), id=None, note=None, is_repeated=False, tell=tell, notify=notify
        )
        return
    data = services.settings.darkroom_data
    digest = _digest(services.settings, wanted, batch, notify)
    if given_id is not None and digest_in(given_id) != digest:
        raise RequestInvalid(
            f"--submission {given_id} was a different request: repeat it with exactly the same prompts, file, options "
            "and ledger, or omit --submission; nothing was written"
        )
    if given_id is not None:
        kept, submission_id = hold_note(data, given_id), given_id
    else:
        kept = _interrupted(data, digest, tell, anew=repetition.anew)
        submission_id = kept.submission_id if kept else new_submission_id(digest)
    is_repeated = given_id is not None or kept is not None
    if not is_repeated:
        kept = _written_note(data, submission_id, tell)
    try:
        named = [
            new if new.dedupe else replace(new, dedupe=f"submission:{submission_id}/{number}")
            for number, new in enumerate(wanted, start=1)
        ]
        yield Submission(
            ledger=services.ledger, wanted=named, id=submission_id, note=kept, is_repeated=is_repeated, tell=tell,
            notify=notify,
        )  # fmt: skip
    finally:
        if kept:
            kept.close()


def _interrupted(data: Path, digest: str, tell: Callable[[str], None], *, anew: bool) -> Note | None:
    remove_old_notes(data)
    if anew:
        # Otherwise the next command would complete what this user has decided against.
        remove_interrupted_notes(data, digest)
        return None
    found = interrupted_note(data, digest)
    if found:
        began = told_time(found.began_at)
        tell(
            f"completing the submission of {began}, which was interrupted; creates no duplicates (--new submits a "
            "second one)"
        )
    return found


def _written_note(data: Path, submission_id: str, tell: Callable[[str], None]) -> Note | None:
    try:
        return write_note(data, submission_id)
    except OSError as error:
        tell(
            f"cannot keep a note of this submission ({data}: {error.strerror}): if it is interrupted, repeat the "
            f"command with `--submission {submission_id}`; or set DARKROOM_DATA to a writable folder"
        )
        return None


def _digest(
    settings: Settings, wanted: Sequence[NewGeneration], batch: str | None, notify: NotifyAddress | None
) -> str:
    """Return the digest of the whole request and its ledger."""
    recipes = [new.recipe and new.recipe.sha256 for new in wanted]
    requests = [asdict(replace(new, recipe=None)) | {"recipe": of} for new, of in zip(wanted, recipes, strict=True)]
    for one in requests:
        # Without an address, keep the digest of older versions, which had no such field.
        if one["notify"] is None:
            del one["notify"]
    asked: list[object] = [redact(settings.ledger_url), batch, requests]
    if notify is not None:
        asked.append(notify.url)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
