"""The whole error tree: the text is a sentence that a person can act on, the class says what the program may do."""

from collections.abc import Collection
from datetime import timedelta
from typing import ClassVar

from worker.generation import Trouble


class DarkroomError(Exception):
    """Base of everything that Darkroom raises on purpose."""


class ConfigurationError(DarkroomError):
    """A setting is missing or wrong; only a person can help."""


class RequestInvalid(DarkroomError):
    """What was asked cannot be expressed or is not allowed; nothing was written and nothing was sent.

    `about`: what of a request is to blame (`operation`, `prompt`, `options` as a whole, or one by its name); empty: it
    could be all of it. `at`: the character of the prompt that is to blame, counted from 0; None where it is not one.
    """

    def __init__(self, message: str, *, about: Collection[str] = (), at: int | None = None) -> None:
        super().__init__(message)
        self.about = frozenset(about if at is None else ("prompt",))
        self.at = at


class NotFound(DarkroomError):
    """Nothing has that id."""


class LedgerUnfit(ConfigurationError):
    """The database answers, and cannot be used as it is: tables missing or old, a right not granted.

    No row is to blame for it, and where an upgrade is under way it is over soon.
    """


class VersionTooOld(LedgerUnfit):
    """The ledger needs a newer version of Darkroom than this one, which must not begin anything on it any more."""


class LedgerUnavailable(DarkroomError):
    """The database cannot be reached or is busy for too long; the caller may try again."""


class CommitUnknown(LedgerUnavailable):
    """The connection broke at the commit: what should be written may have been written."""


# --- what providers do ---


class ProviderError(DarkroomError):
    """A provider refused, failed or could not be understood.

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
    """The provider certainly did not take the submission: it is free to submit it again after `retry_after`."""

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
    """Not taken, and nothing else will be until a person acts (wrong key, empty balance): the account is paused.

    `key_mark`: of the key with which that happened; None if nobody has said it.
    """

    key_mark: str | None = None


class Rejected(ProviderError):
    """The provider refused this request for good; the generation fails."""


class Uncertain(ProviderError):
    """It may have been taken and charged: never submitted again by the program."""


class QueryFailed(ProviderError):
    """A question to the provider (not a submission) got no usable answer; asking again later is free."""


class CallbackUnreadable(DarkroomError):
    """An authenticated callback whose body cannot be understood; it is kept and can be replayed after a fix."""


# --- what links do ---


class DownloadError(DarkroomError):
    """A result link did not give its bytes; trying again later may help."""

    trouble: ClassVar[Trouble] = Trouble.NO_ANSWER
    #: whether the server refused us, as it also does with those whom it takes for programs
    is_forbidden = False


class TooSlow(DownloadError):
    """It stalled, or its bytes come more slowly than is waited for."""

    trouble = Trouble.TOO_SLOW


class SetDown(TooSlow):
    """It takes long, and made room for others."""

    #: whether the next try in this process goes on with the rest
    can_resume = False


class LinkDead(DownloadError):
    """There is no file behind the link: not yet, or not any more. Later, or a fresh link, may help."""

    trouble = Trouble.NOT_FOUND


class LinkBlocked(DownloadError):
    """A firewall answered in place of the file, which says nothing about the file."""

    trouble = Trouble.BLOCKED


class LinkForbidden(DownloadError):
    """The link points where no download may go, unless a setting allows it."""

    trouble = Trouble.HOST_NOT_ALLOWED


class AddressForbidden(LinkForbidden):
    """The name in the link leads to a forbidden address now; at another time, or elsewhere, it may lead to another."""

    trouble = Trouble.ADDRESS_NOT_ALLOWED


class ContentInvalid(DownloadError):
    """Bytes came, but they are not the whole and harmless file that they claim to be."""

    trouble = Trouble.BAD_CONTENT


# --- what the bucket does ---


class ArchiveError(DarkroomError):
    """The bucket did not take or give an object; trying again later may help."""


class ArchiveConflict(ArchiveError):
    """Another object with other bytes already lies under this key."""
