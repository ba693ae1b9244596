"""Images that programs upload, to use as inputs of generations later."""

import hashlib
from dataclasses import dataclass
from typing import IO

from tasks.usecases.assets import LINK_LIFE
from tasks.usecases.inputs import EXTENSIONS, fitting_providers, put_input
from worker.errors import ContentInvalid, NotFound, RequestInvalid
from worker.generation import AssetKind
from worker.ledger.inputs import InputFile
from worker.media import inspect
from worker.providers import input_reference
from worker.services import Services

#: bytes; some providers accept less, see `Provider.input_limit`
LARGEST_UPLOAD = 20 * 1024 * 1024
UPLOAD_TYPES = tuple(EXTENSIONS)
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """`reference`: the value of an option that stands for it; `providers`: those whose limits it keeps."""

    file: InputFile
    reference: str
    providers: tuple[str, ...]


def upload(here: Services, file: IO[bytes], content_type: str | None = None) -> Uploaded:
    """Check an image and store it once in the bucket; the same bytes again change nothing.

    `content_type`: the sender's declaration, if it must match.

    Raises RequestInvalid for a file that is not a complete image, is too large, or is not of the declared type;
    ArchiveError, DownloadError or LedgerUnavailable if repeating it later may help; ConfigurationError without a
    bucket.
    """
    size = file.seek(0, 2)
    if size > LARGEST_UPLOAD:
        raise RequestInvalid(f"the image is {size / 1e6:.1f} MB: the limit is {LARGEST_UPLOAD >> 20} MB")
    try:
        facts = inspect(file, AssetKind.IMAGE)
    except ContentInvalid as error:
        raise RequestInvalid(f"{error}: upload a complete PNG, JPEG or WebP image") from error
    if facts.content_type not in EXTENSIONS:
        raise RequestInvalid(f"this is {facts.content_type}: upload a PNG, JPEG or WebP image")
    if content_type is not None and facts.content_type != content_type:
        raise RequestInvalid(f"this is {facts.content_type}, not {content_type}: correct its content type")
    sha256 = _sha256(file)
    extension = EXTENSIONS[facts.content_type]
    one = InputFile(sha256=sha256, bytes=size, content_type=facts.content_type, extension=extension)
    archive = here.archive
    # Record it first, so that it is not pruned before it is stored.
    key = here.ledger.inputs.record([one], archive.keys.inputs)[sha256].object_key
    put_input(here, key, one, file, f"{sha256[:12]}.{extension}")
    return Uploaded(file=one, reference=input_reference(sha256, extension), providers=fitting_providers(size))


def link_to_upload(here: Services, sha256: str) -> str:
    """Return a presigned link to a stored image; never store or log it. Raises NotFound."""
    found = here.ledger.inputs.get([sha256]).get(sha256)
    if found is None:
        raise NotFound(f"there is no stored image with the SHA-256 {sha256}: upload it again")
    return here.archive.url(found.object_key, expires=LINK_LIFE)


def _sha256(file: IO[bytes]) -> str:
    """Return the hash of the whole file, and rewind it."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    file.seek(0)
    return digest.hexdigest()
