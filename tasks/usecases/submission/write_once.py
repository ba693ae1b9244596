"""Writing down what was asked for, once: also when the connection breaks, or an interrupted command is repeated."""

import hashlib
import json
import time
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
from worker.errors import CommitUnknown, DarkroomError, LedgerUnavailable, RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.generations import NewGeneration
from worker.secrets import redact
from worker.services import Services
from worker.settings import Settings

#: seconds after its first failure for which the ledger is tried again
PATIENCE = 10.0
#: seconds between two tries, the first time and at most
_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
#: seconds after which somebody who waits wants to know why
_LONG = 1.0


@dataclass(frozen=True, slots=True)
class Repetition:
    """`submission_id`: complete this one, which an error named. `anew`: not what was interrupted, but a second one."""

    submission_id: str | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What was asked for, each with a `dedupe` that was made before the first try to write it down.

    `id` is None where the user's own keys say it all; `note` where none is needed or can be kept. `is_repeated`: an
    earlier process may have written it. `tell`: for whoever waits.
    """

    ledger: Ledger
    wanted: list[NewGeneration]
    id: str | None
    note: Note | None
    is_repeated: bool
    tell: Callable[[str], None]

    def write(self, batch: str | None) -> list[Generation]:
        """Raises CommitUnknown with how to go on, where the ledger stays away and may have written it."""
        try:
            return self._written(batch)
        except KeyboardInterrupt:
            self.tell(f"interrupted: {self._how_to_go_on()}")
            raise

    def _written(self, batch: str | None) -> list[Generation]:
        may_be_written = self.is_repeated
        started, ends, pause, is_told = time.monotonic(), None, _PAUSE, False
        while True:
            try:
                return self.ledger.generations.create(self.wanted, batch)
            except LedgerUnavailable as error:
                may_be_written |= isinstance(error, CommitUnknown)
                reason = str(error.__cause__ if isinstance(error, CommitUnknown) else error)
                resumes = time.monotonic() + pause
                ends = ends or resumes + PATIENCE
                if resumes > ends and may_be_written:
                    raise CommitUnknown(f"{reason}; {self._how_to_go_on()}") from error
                if resumes > ends:
                    self.forget()
                    raise LedgerUnavailable(f"{reason}; nothing was written") from error
            except DarkroomError as error:
                # An invalid one was not written by an earlier process either: that would have been told the same.
                if not may_be_written or isinstance(error, RequestInvalid):
                    self.forget()
                raise
            if not is_told and resumes - started > _LONG:
                self.tell(redact(f"the ledger cannot take it now ({reason}): trying again for {PATIENCE:g} s"))
                is_told = True
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def forget(self) -> None:
        """The person has the ids, or nothing was written: the same command is a new submission from now on."""
        if self.note:
            self.note.remove()

    def _how_to_go_on(self) -> str:
        look = "`darkroom list` shows whether it was"
        if self.id is None:
            return f"it may have been written; {look}. The same command completes it: its keys create nothing twice"
        if self.note is None:
            how = f"The same command with `--submission {self.id}` completes it and creates nothing twice"
        else:
            hours = f"{KEPT.total_seconds() / 3600:g} hours"
            how = (
                f"The same command completes it within {hours} and creates nothing twice; with "
                f"`--submission {self.id}` also later, and with another data folder"
            )
        return f"it may have been written; {look}. {how}"


@contextmanager
def begun(
    services: Services,
    wanted: Sequence[NewGeneration],
    batch: str | None,
    repetition: Repetition,
    tell: Callable[[str], None],
) -> Iterator[Submission]:
    """A submission, whose note this process holds while the block runs.

    `batch`: its name, if that does not depend on the time. Raises RequestInvalid for the id of something else.
    """
    given_id = repetition.submission_id
    if all(new.dedupe for new in wanted):
        yield Submission(ledger=services.ledger, wanted=list(wanted), id=None, note=None, is_repeated=False, tell=tell)
        return
    data = services.settings.darkroom_data
    digest = _digest(services.settings, wanted, batch)
    if given_id is not None and digest_in(given_id) != digest:
        raise RequestInvalid(
            f"--submission {given_id} asked for something else: repeat it with exactly the same prompts, file, options "
            "and ledger, or leave --submission out; nothing was written"
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
            ledger=services.ledger, wanted=named, id=submission_id, note=kept, is_repeated=is_repeated, tell=tell
        )
    finally:
        if kept:
            kept.close()


def _interrupted(data: Path, digest: str, tell: Callable[[str], None], *, anew: bool) -> Note | None:
    remove_old_notes(data)
    if anew:
        # Or the next one would complete what this person has decided about.
        remove_interrupted_notes(data, digest)
        return None
    found = interrupted_note(data, digest)
    if found:
        began = told_time(found.began_at)
        tell(
            f"completing the submission of {began}, which was interrupted: nothing is created twice (--new submits a "
            "second one)"
        )
    return found


def _written_note(data: Path, submission_id: str, tell: Callable[[str], None]) -> Note | None:
    try:
        return write_note(data, submission_id)
    except OSError as error:
        tell(
            f"no note of this submission can be kept ({data}: {error.strerror}): if it is interrupted, repeat the "
            f"command with `--submission {submission_id}`; or set DARKROOM_DATA to a folder that can be written"
        )
        return None


def _digest(settings: Settings, wanted: Sequence[NewGeneration], batch: str | None) -> str:
    """Of everything that is asked for, and of the ledger that is to have it."""
    asked = [redact(settings.ledger_url), batch, [asdict(new) for new in wanted]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
