"""Optional headers of a put, and how to find out which of them the store refuses."""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from botocore.exceptions import ClientError

from worker.archive.keeping import Extra

log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: HTTP status with which a store may refuse an extra → how many trials without some extras may fail per `_MINUTE`.
#: The limit exists because wrong keys and missing grants are refused with the same statuses.
_GUESSES = {400: 3, 403: 2, 501: 3}
#: seconds
_MINUTE = 60.0
_NONE: frozenset[Extra] = frozenset()
#: codes that concern the bytes, the clock, the signature, the bucket or the encryption
_NEVER = re.compile(
    "Digest|Mismatch|Signature|Skew|Expired|Timeout|Token|AccessKey|Malformed|TooLarge|TooSmall|TooLong|Incomplete|Length"
    "|Quota|Bucket|Account|Encrypt|KMS|Domain|PathStyle|Part$|PartOrder|Upload",
    re.IGNORECASE,
)
#: words that concern the bytes, regardless of the code
_OF_THE_BYTES = re.compile("not match|mismatch|corrupt", re.IGNORECASE)
#: words that identify each extra in the text of a refusal
_NAMES = {
    Extra.TAGS: re.compile("x-amz-tagging|InvalidTag|ObjectTagging", re.IGNORECASE),
    Extra.STORAGE_CLASS: re.compile("storage[- ]?class", re.IGNORECASE),
    Extra.CHECKSUM: re.compile("x-amz-(sdk-)?checksum", re.IGNORECASE),
    Extra.CONDITION: re.compile("If-None-Match", re.IGNORECASE),
}


class Extras:
    """Remembers per process which extras the store refuses, so that each is refused only once.

    An extra is dropped permanently once an object that was refused with it has been stored without it. If several
    were left out together and the store did not name the cause, each of the next objects retries one of them.
    """

    def __init__(self) -> None:
        self.refused: frozenset[Extra] = frozenset()
        #: dropped together with others, perhaps unnecessarily
        self.doubtful: frozenset[Extra] = frozenset()
        #: sets of extras whose omission did not help, and when that was tried (monotonic)
        self._in_vain: dict[frozenset[Extra], float] = {}
        self._lock = threading.Lock()
        #: held by the thread that probes; the others wait for its result
        self._guessing = threading.Lock()

    def attempt(self, wanted: Collection[Extra], send: Callable[[frozenset[Extra]], Result]) -> Result:
        """Call `send` with as many of the wanted extras as the store accepts. Raises its first ClientError."""
        asked, back = self._worth_asking(frozenset(wanted))
        try:
            result = send(asked)
        except ClientError as error:
            if not asked or not _may_mean_an_extra(error):
                raise
            with self._guessing:
                if self._worth_asking(frozenset(wanted))[0] == asked:
                    return self._without_some(asked, back, send, error)
            return self.attempt(wanted, send)
        with self._lock:
            self.doubtful -= asked
        return result

    def _worth_asking(self, wanted: frozenset[Extra]) -> tuple[frozenset[Extra], Extra | None]:
        """Return the extras to send, and which of them is being retried."""
        with self._lock:
            back = next((extra for extra in Extra if extra in self.doubtful & wanted), None)
            return wanted - self.refused - (self.doubtful - {back}), back

    def _without_some(
        self,
        asked: frozenset[Extra],
        back: Extra | None,
        send: Callable[[frozenset[Extra]], Result],
        first: ClientError,
    ) -> Result:
        error, named, tried = first, _NONE, []
        while True:
            news = _named(error) & (asked - named)
            named |= news
            guesses = [named] if news else [guess for guess in _guesses(asked, back) if guess not in tried]
            without = self._allowed(guesses, _status(first))
            if without is None:
                raise first
            tried.append(without)
            self._in_vain[without] = time.monotonic()
            try:
                result = send(asked - without)
            except ClientError as again:
                if not _may_mean_an_extra(again):
                    raise first from again
                error = again
                if _named(again) & (asked - named - without):
                    # The store now complains about the next extra.
                    del self._in_vain[without]
            else:
                needed = [without - less for less in tried if less < without]
                known = without if without == named or len(without) == 1 else _NONE
                known |= frozenset().union(*(one for one in needed if len(one) == 1))
                self._learn(without, known, first.response["Error"]["Code"])
                return result

    def _allowed(self, guesses: list[frozenset[Extra]], status: int) -> frozenset[Extra] | None:
        """Return the guess whose last failure is oldest, or None if too many failed recently."""
        recent = {guess for guess, at in self._in_vain.items() if time.monotonic() - at < _MINUTE}
        if len(recent) >= _GUESSES[status]:
            return None
        open_to_us = [guess for guess in guesses if guess not in recent]
        return min(open_to_us, key=lambda guess: self._in_vain.get(guess, 0.0), default=None)

    def _learn(self, without: frozenset[Extra], known: frozenset[Extra], code: str) -> None:
        self._in_vain.clear()
        with self._lock:
            self.refused |= known
            self.doubtful = (self.doubtful | without) - self.refused
        if known:
            log.warning("the bucket refuses %s (%s): storing objects without it", ", ".join(sorted(known)), code)


def _guesses(asked: frozenset[Extra], back: Extra | None) -> Iterator[frozenset[Extra]]:
    """Yield what to leave out if the store names no cause: in few requests, and the condition last."""
    likely = [back] if back else [extra for extra in Extra if extra in asked]
    yield frozenset(likely[:1])
    for guess in (asked - {Extra.CONDITION}, asked):
        if guess:
            yield guess


def _may_mean_an_extra(error: ClientError) -> bool:
    told = error.response["Error"]
    if _NEVER.search(told["Code"]) or _OF_THE_BYTES.search(told.get("Message", "")):
        return False
    return _status(error) in _GUESSES


def _named(error: ClientError) -> frozenset[Extra]:
    told = f"{error.response['Error']['Code']} {error.response['Error'].get('Message', '')}"
    return frozenset(extra for extra, name in _NAMES.items() if name.search(told))


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
