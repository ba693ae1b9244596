"""The error tree: each message is a sentence that a person can act on; each class tells the program what it may do."""

from collections.abc import Collection
from datetime import timedelta
from typing import ClassVar

from worker.generation import Trouble


class DarkroomError(Exception):
    """Base of all errors that Darkroom raises on purpose."""


class ConfigurationError(DarkroomError):
    """A setting is missing or wrong; a person has to correct it."""


class ProviderNotSet(ConfigurationError):
    """Nobody has set this provider up: `setting`, which it requires, is empty."""

    def __init__(self, setting: str, advice: str) -> None:
        super().__init__(f"{setting} is not set: {advice}")
        self.setting = setting


class RequestInvalid(DarkroomError):
    """The request is impossible or not allowed; nothing was written or sent.

    `about`: the parts of the request at fault (`operation`, `prompt`, `options` as a whole, or one option's name);
    empty: perhaps all. `at`: the position of the wrong character in the prompt, from 0; None if it is not a character.
    """

    def __init__(self, message: str, *, about: Collection[str] = (), at: int | None = None) -> None:
        super().__init__(message)
        self.about = frozenset(about if at is None else ("prompt",))
        self.at = at


class NotPossible(RequestInvalid):
    """The request is possible in general, but not in the object's current state."""


class SentBefore(NotPossible):
    """The same request was sent before and may have been carried out then; this repetition is refused."""


class KeyTaken(RequestInvalid):
    """The user's `key` belongs to another generation."""

    def __init__(self, message: str, key: str | None) -> None:
        super().__init__(message, about=("key",))
        self.key = key


class KeyReused(RequestInvalid):
    """The idempotency key belongs to another request."""


class KeyInUse(DarkroomError):
    """A request with this idempotency key is being carried out; the caller may repeat it later."""


class AlreadyDecided(DarkroomError):
    """Somebody else has decided otherwise; the text says who and when."""


class TooLate(AlreadyDecided):
    """Nobody decided in time; the text says what the step does then."""


class NotFound(DarkroomError):
    """No object has that id."""


class Gone(NotFound):
    """The object existed and was deleted."""


class NotYet(DarkroomError):
    """The object does not exist yet; asking again later may help."""


class LedgerUnfit(ConfigurationError):
    """The database answers but is not usable: missing or old tables, a missing privilege.

    The cause is not a single row, and during an upgrade it passes soon.
    """


class VersionTooOld(LedgerUnfit):
    """The ledger requires a newer version of Darkroom; this one must not start new work on it."""


class LedgerUnavailable(DarkroomError):
    """The database is unreachable or busy for too long; the caller may retry."""


class CommitUnknown(LedgerUnavailable):
    """The connection broke during the commit: the data may have been written."""


# --- what providers do ---


class ProviderError(DarkroomError):
    """A provider refused or failed, or its reply is unreadable.

    `code` is the provider's own error code or a short word of ours; it becomes the generation's `reason`.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None, trace_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.trace_id = trace_id

    def __str__(self) -> str:
        facts = [f"code {self.code}"]
        if self.status is not None:
            facts.append(f"HTTP {self.status}")
        if self.trace_id:
            facts.append(f"trace {self.trace_id}")
        return f"{super().__str__()} ({', '.join(facts)})"


class NotTaken(ProviderError):
    """The provider certainly did not accept the submission: submitting it again after `retry_after` is safe."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        trace_id: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status, trace_id=trace_id)
        self.retry_after = retry_after


class AccountBlocked(NotTaken):
    """Not accepted, and nothing else will be until a person acts (wrong key, empty balance): the account is paused.

    `key_mark`: identifies the key that was refused; None if unknown.
    """

    key_mark: str | None = None


class Rejected(ProviderError):
    """The provider refused this request permanently; the generation fails."""


class Uncertain(ProviderError):
    """The provider may have accepted and charged it: the program never submits it again."""


class QueryFailed(ProviderError):
    """A query to the provider (not a submission) got no usable reply; asking again later is free."""


class CallbackUnreadable(DarkroomError):
    """An authenticated callback with an unreadable body; it is stored and can be replayed after a fix."""


# --- what links do ---


class DownloadError(DarkroomError):
    """A download from a result link failed; retrying later may help."""

    trouble: ClassVar[Trouble] = Trouble.NO_ANSWER
    #: whether the server refused us, perhaps because it takes us for a bot
    is_forbidden = False


class TooSlow(DownloadError):
    """The download stalled or is too slow."""

    trouble = Trouble.TOO_SLOW


class SetDown(TooSlow):
    """The download is slow and made way for others."""

    #: whether the next try in this process resumes it
    can_resume = False


class LinkDead(DownloadError):
    """There is no file at the link: not yet, or no longer. Waiting or a fresh link may help."""

    trouble = Trouble.NOT_FOUND


class LinkBlocked(DownloadError):
    """A firewall replied instead of the file's host; the file may still exist."""

    trouble = Trouble.BLOCKED


class LinkForbidden(DownloadError):
    """The link points to a host that downloads may not reach unless a setting allows it."""

    trouble = Trouble.HOST_NOT_ALLOWED


class AddressForbidden(LinkForbidden):
    """The link's host name currently resolves to a forbidden address; elsewhere or later it may resolve to another."""

    trouble = Trouble.ADDRESS_NOT_ALLOWED


class ContentInvalid(DownloadError):
    """The received bytes are not the complete and harmless file that they claim to be."""

    trouble = Trouble.BAD_CONTENT


# --- what the bucket does ---


class ArchiveError(DarkroomError):
    """The bucket did not store or return an object; retrying later may help."""


class ArchiveConflict(ArchiveError):
    """The key already has an object with other bytes."""
