"""The images that users supplied, in the form that providers accept: files, or links to the bucket."""

import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from worker.errors import ArchiveError, NotFound, NotTaken, RequestInvalid
from worker.generation import GenerationRequest
from worker.providers import Provider, inputs_of, with_inputs
from worker.services import Services

#: the longest that S3 allows, so that the provider can take its time
_LINK_LIFE = timedelta(days=7)
#: the pause before retrying when the bucket does not answer
_RETRY_AFTER = timedelta(seconds=30)


class _Object(Protocol):
    """An image in the bucket."""

    @property
    def object_key(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def content_type(self) -> str: ...


def with_files(here: Services, provider: Provider, request: GenerationRequest) -> GenerationRequest:
    """Return the request with the files that its options refer to. Call it before anything is sent.

    Raises RequestInvalid for a file that was pruned or is above the provider's limit, NotTaken if the bucket does not
    answer.
    """
    if not (digests := inputs_of(request.options)):
        return request
    objects = _objects(here, digests)
    largest = max((one.bytes for one in objects.values()), default=0)
    # The size was checked for the first provider, but the batch may have been moved to another one.
    if provider.input_limit is not None and largest > provider.input_limit:
        raise RequestInvalid(
            f"an input file is {largest / 1e6:.1f} MB, and {provider.title} accepts at most "
            f"{provider.input_limit >> 20} MB: use a smaller one, or another provider"
        )

    def object_of(sha256: str) -> _Object:
        if sha256 not in objects:
            raise _gone(sha256)
        return objects[sha256]

    def as_file(sha256: str) -> str:
        one = object_of(sha256)
        with here.archive.read(one.object_key) as pieces:
            content = base64.b64encode(b"".join(pieces)).decode("ascii")
        return f"data:{one.content_type};base64,{content}"

    def as_link(sha256: str) -> str:
        return here.archive.url(object_of(sha256).object_key, expires=_LINK_LIFE)

    try:
        return with_inputs(provider, request, as_file=as_file, as_link=as_link)
    except NotFound as error:
        raise _gone(digests[0]) from error
    except ArchiveError as error:
        what = f"it was not sent: its input file cannot be read: {error}"
        raise NotTaken(what, code="input_unreadable", retry_after=_RETRY_AFTER) from error


def _objects(here: Services, digests: Sequence[str]) -> dict[str, _Object]:
    """Return images that users supplied, and results of ours that recipes refer to, by SHA-256."""
    objects: dict[str, _Object] = {**here.ledger.inputs.get(digests)}
    for sha256 in digests:
        if sha256 not in objects and (copy := here.ledger.assets.first_copy(sha256)):
            objects[sha256] = copy
    return objects


def _gone(sha256: str) -> RequestInvalid:
    return RequestInvalid(f"the input file with the SHA-256 {sha256} is no longer in the bucket: submit it again")
