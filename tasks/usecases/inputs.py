"""Images on this machine as inputs of generations: stored once in the bucket, and referred to in their options."""

import hashlib
import os.path
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from worker.errors import RequestInvalid
from worker.generation import GenerationRequest
from worker.ledger.inputs import InputFile, InputObject
from worker.media import content_type_of
from worker.net import is_inside
from worker.providers import Provider, input_reference, takes_only_links
from worker.services import Services

#: bytes; Ace Data Cloud and Kie.ai take no larger ones
LARGEST = 10 * 1024 * 1024
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_ELSEWHERE = re.compile(r"(https?://|data:|input:)", re.IGNORECASE)
_THREADS = 8


class InputFiles:
    """The files that a submission refers to, relative to `folder`. Each is read once, and stored once."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._references: dict[Path, str] = {}
        self._found: dict[str, tuple[Path, InputFile]] = {}

    def referenced(self, provider: Provider, request: GenerationRequest) -> dict[str, object]:
        """Return the options with paths of files replaced by references to them.

        Raises RequestInvalid, about the option, for a file that is not there or no image, and for a bucket that the
        provider cannot reach.
        """
        capability = provider.capabilities.get(request.operation)
        images = {name for name, option in capability.options.items() if option.takes_images} if capability else set()
        options = dict(request.options)
        for name in images & options.keys():
            value = options[name]
            items = value if isinstance(value, list) else str(value).split() if _is_list(value) else [value]
            options[name] = [self._reference(name, item) for item in items]
        return options

    def store(self) -> Mapping[str, InputObject]:
        """Store all of them in the bucket; return where, by SHA-256. Raises ArchiveError or LedgerUnavailable."""
        archive = self._services.archive
        objects = self._services.ledger.inputs.record([one for _, one in self._found.values()], archive.keys.inputs)

        def put(sha256: str) -> None:
            path, one = self._found[sha256]
            with path.open("rb") as file:
                archive.store(
                    objects[sha256].object_key,
                    file,
                    sha256=sha256,
                    size=one.bytes,
                    content_type=one.content_type,
                    metadata={},
                    filename=path.name,
                    tags={},
                )

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="inputs") as pool:
            list(pool.map(put, objects))
        return objects

    def _reference(self, option: str, item: object) -> object:
        if not isinstance(item, str) or _ELSEWHERE.match(item):
            return item
        # A shell does not read the ~ behind an equals sign; that of Path raises for unknown users.
        path = self._folder / os.path.expanduser(item)  # noqa: PTH111
        if path not in self._references:
            file = _read(option, item, path)
            self._found.setdefault(file.sha256, (path, file))
            self._references[path] = input_reference(file.sha256, file.extension)
        return self._references[path]


def refuse_unreachable(services: Services, provider: Provider, request: GenerationRequest) -> None:
    """Raise RequestInvalid if this provider would have to open a link to a bucket that only this machine reaches."""
    if not takes_only_links(provider, request):
        return
    bucket = services.archive.url("inputs")
    if is_inside(bucket) and not is_inside(services.base_url(provider.name)):
        raise RequestInvalid(
            f"{provider.title} takes images only as links, and cannot reach the bucket at "
            f"{urlsplit(bucket).netloc}: give a public link, or use a bucket that the internet can reach"
        )


def _is_list(value: object) -> bool:
    """Links are separated by spaces; a path may have some in it."""
    return isinstance(value, str) and _ELSEWHERE.match(value) is not None


def _read(option: str, given: str, path: Path) -> InputFile:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        what = f"option {option}: {given!r} cannot be read: {reason}; give a link, or a PNG, JPEG or WebP file"
        raise RequestInvalid(what, about=(option,)) from error
    if len(content) > LARGEST:
        what = f"option {option}: {given} is larger than the {LARGEST >> 20} MB that providers accept"
        raise RequestInvalid(what, about=(option,))
    kind = content_type_of(content)
    if kind not in _EXTENSIONS:
        raise RequestInvalid(f"option {option}: {given} is not a PNG, JPEG or WebP image", about=(option,))
    sha256 = hashlib.sha256(content).hexdigest()
    return InputFile(sha256=sha256, bytes=len(content), content_type=kind, extension=_EXTENSIONS[kind])
