"""Images on this machine as inputs of generations: stored once in the bucket, and referred to in their options."""

import hashlib
import os.path
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from tasks.usecases.batch_file import shown
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest
from worker.ledger.inputs import InputFile, InputObject
from worker.media import content_type_of
from worker.net import is_inside
from worker.providers import PROVIDERS, Provider, input_reference, inputs_of, provider_class, takes_only_links
from worker.services import Services

#: bytes; Ace Data Cloud and Kie.ai take no larger ones
LARGEST = 10 * 1024 * 1024
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_ELSEWHERE = re.compile(r"(https?://|data:)", re.IGNORECASE)
_THREADS = 8


class InputFiles:
    """The files that a submission refers to, relative to `folder`. Each is read once, and stored once."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._references: dict[Path, str] = {}
        self._found: dict[str, tuple[Path, InputFile]] = {}
        #: provider → the bucket's host, if that is out of its reach
        self._unreachable: dict[str, str | None] = {}

    def referenced(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """Return the options with paths of files replaced by references to them.

        Raises RequestInvalid, about the option, for a file that is not there or no image, or for a reference.
        """
        refuse_references(options)
        return _replaced(options, self._reference)

    def require_reachable(self, provider: Provider, request: GenerationRequest) -> None:
        """Raise RequestInvalid if this provider would have to open a link to a bucket that only this machine reaches.

        One with an address inside, such as a sandbox or a proxy of your own, is taken to reach it.
        """
        if not takes_only_links(provider, request):
            return
        if provider.name not in self._unreachable:
            self._unreachable[provider.name] = _unreachable_bucket(self._services, provider)
        _refuse_unreachable(provider, self._unreachable[provider.name])

    def store(self) -> None:
        """Store all of them in the bucket. Raises ArchiveError, LedgerUnavailable or ConfigurationError."""
        if not self._found:
            return
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

    def _reference(self, option: str, item: object) -> object:
        if not isinstance(item, str) or _ELSEWHERE.match(item):
            return item
        path = self._folder / os.path.expanduser(item)  # noqa: PTH111  as `read_image` does
        if path not in self._references:
            content, kind = read_image(option, item, self._folder)
            sha256, extension = hashlib.sha256(content).hexdigest(), _EXTENSIONS[kind]
            file = InputFile(sha256=sha256, bytes=len(content), content_type=kind, extension=extension)
            self._found.setdefault(sha256, (path, file))
            self._references[path] = input_reference(sha256, extension)
        return self._references[path]


class UploadedFiles:
    """The files that a program has uploaded and refers to; paths on this machine mean nothing to it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._used: dict[str, InputObject] = {}

    def referenced(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """Return the options. Raises RequestInvalid, about the option, for what is neither a link nor uploaded."""
        return _replaced(options, self._known)

    def require_reachable(self, provider: Provider, request: GenerationRequest) -> None:
        """As `InputFiles.require_reachable`."""
        if takes_only_links(provider, request):
            _refuse_unreachable(provider, _unreachable_bucket(self._services, provider))

    def store(self) -> None:
        """Keep them from being pruned before they are used. Raises RequestInvalid for one that was pruned just now."""
        if not self._used:
            return
        files = [
            InputFile(
                sha256=one.sha256,
                bytes=one.bytes,
                content_type=one.content_type,
                extension=_EXTENSIONS[one.content_type],
            )
            for one in self._used.values()
        ]
        now = self._services.ledger.inputs.record(files, self._services.archive.keys.inputs)
        gone = [one for one in self._used.values() if now[one.sha256].object_key != one.object_key]
        if gone:
            raise RequestInvalid(f"the image {gone[0].sha256[:12]}… was deleted, as nothing used it: upload it again")

    def _known(self, option: str, item: object) -> object:
        if isinstance(item, str) and _ELSEWHERE.match(item):
            return item
        digests = inputs_of({option: [item]})
        found = self._services.ledger.inputs.get(digests) if digests else {}
        for one in found.values():
            if item == input_reference(one.sha256, _EXTENSIONS.get(one.content_type, "")):
                self._used[one.sha256] = one
                return item
        what = f"option {option}: {shown(item)!r} is no link, no `data:` link and no reference to an uploaded image"
        raise RequestInvalid(f"{what}: upload the image first, or give its link", about=(option,))


def _replaced(options: Mapping[str, object], replace: Callable[[str, object], object]) -> Mapping[str, object]:
    """Return the options with each image replaced."""
    named = image_options() & options.keys()
    if not named:
        return options
    found = dict(options)
    for name in named:
        value = options[name]
        items = value if isinstance(value, list) else str(value).split() if _is_list(value) else [value]
        found[name] = [replace(name, item) for item in items]
    return found


def _unreachable_bucket(services: Services, provider: Provider) -> str | None:
    """The bucket's host, if that is out of this provider's reach."""
    bucket = services.archive.url("inputs")
    is_cut_off = is_inside(bucket) and not is_inside(services.base_url(provider.name))
    return urlsplit(bucket).netloc if is_cut_off else None


def _refuse_unreachable(provider: Provider, bucket_host: str | None) -> None:
    if bucket_host is not None:
        raise RequestInvalid(
            f"{provider.title} takes images only as links, and cannot reach the bucket at {bucket_host}: give a "
            "public link, or use a bucket that the internet can reach"
        )


@cache
def image_options() -> frozenset[str]:
    """Return the options of any provider whose values are images."""
    capabilities = (one for name in PROVIDERS for one in provider_class(name).capabilities.values())
    return frozenset(name for one in capabilities for name, option in one.options.items() if option.takes_images)


def _is_list(value: object) -> bool:
    """Links are separated by spaces; a path may have some in it."""
    return isinstance(value, str) and _ELSEWHERE.match(value) is not None


def refuse_references(options: Mapping[str, object]) -> None:
    """Raise RequestInvalid if an option names a stored file itself, where a person gives links and files."""
    for name, value in options.items():
        if inputs_of({name: value}):
            what = f"option {name}: {value!r} is no image; give a link, or a PNG, JPEG or WebP file on this machine"
            raise RequestInvalid(what, about=(name,))


def read_image(option: str, given: str, folder: Path = Path()) -> tuple[bytes, str]:
    """Return the content and the content type of an image file, relative to `folder`.

    Raises RequestInvalid, about the option, for a file that is not there, too large or no image.
    """
    try:
        # A shell does not read the ~ behind an equals sign; that of Path raises for unknown users.
        with (folder / os.path.expanduser(given)).open("rb") as file:  # noqa: PTH111
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        advice = "give a link, or a PNG, JPEG or WebP file on this machine"
        what = f"option {option}: {given!r} cannot be read: {reason}; {advice}"
        raise RequestInvalid(what, about=(option,)) from error
    if len(content) > LARGEST:
        what = f"option {option}: {given} is larger than the {LARGEST >> 20} MB that providers accept"
        raise RequestInvalid(what, about=(option,))
    kind = content_type_of(content)
    if kind not in _EXTENSIONS:
        raise RequestInvalid(f"option {option}: {given} is not a PNG, JPEG or WebP image", about=(option,))
    return content, kind
