"""One put, and what is asked of the store with it that it may not know."""

import base64
import logging
import threading
from collections.abc import Callable, Collection
from enum import StrEnum
from itertools import combinations
from typing import TypeVar

from botocore.exceptions import ClientError

from worker.archive.keeping import Upload
from worker.archive.signed_requests import Body, SignedRequests, refusal

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Extra(StrEnum):
    """What a store may not know without the picture being the worse for it; the likeliest first."""

    TAGS = "tags"
    CONDITION = "If-None-Match"
    CHECKSUM = "x-amz-checksum-sha256"


_UNKNOWN = frozenset({"NotImplemented", "501"})
#: the codes with which each is refused; a grant to put does not include one to tag
_REFUSALS = {
    Extra.TAGS: _UNKNOWN | {"AccessDenied", "InvalidTag"},
    Extra.CONDITION: _UNKNOWN,
    Extra.CHECKSUM: _UNKNOWN,
}


class Extras:
    """Remembers for the process which extras its store refuses, so that each is refused only once."""

    def __init__(self) -> None:
        self.refused: frozenset[Extra] = frozenset()
        self._lock = threading.Lock()

    def attempt(self, wanted: Collection[Extra], send: Callable[[frozenset[Extra]], Result]) -> Result:
        """What `send` gives with as many of the wanted extras as the store takes; raises its first ClientError."""
        asked = frozenset(wanted) - self.refused
        try:
            return send(asked)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            suspects = [extra for extra in Extra if extra in asked and code in _REFUSALS[extra]]
            for count in range(1, len(suspects) + 1):
                for without in combinations(suspects, count):
                    try:
                        result = send(asked - set(without))
                    except ClientError:
                        continue
                    self._remember(without, code)
                    return result
            raise

    def _remember(self, without: Collection[Extra], code: str) -> None:
        with self._lock:
            news = frozenset(without) - self.refused
            self.refused |= news
        if news:
            log.warning("The bucket refuses %s (%s): objects are stored without", ", ".join(sorted(news)), code)


def put(requests: SignedRequests, extras: Extras, upload: Upload, file: Body, *, overwrite: bool) -> bool:
    """False if something lies there already; stores that know no `If-None-Match` overwrite it all the same."""
    asset = upload.asset
    headers = {**upload.headers, "Content-Length": str(asset.bytes)}
    optional = {Extra.CHECKSUM: ("x-amz-checksum-sha256", base64_of(asset.sha256))}
    if upload.tags:
        optional[Extra.TAGS] = ("x-amz-tagging", upload.tags)
    if not overwrite:
        optional[Extra.CONDITION] = ("If-None-Match", "*")

    def send(chosen: frozenset[Extra]) -> bool:
        sent = headers | dict(optional[extra] for extra in chosen)
        response = requests.send("PUT", asset.key, headers=sent, body=file, sha256=asset.sha256)
        if response.status not in {200, 412}:
            raise refusal(response, "PutObject")
        return response.status == 200

    return extras.attempt(optional, send)


def base64_of(sha256: str) -> str:
    """A hash as S3's headers write it, instead of in hexadecimal."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
