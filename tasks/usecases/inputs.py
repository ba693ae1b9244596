"""Images as inputs of generations: stored once in the bucket and referenced in options."""

import hashlib
import os.path
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from tasks.shown import shown
from worker.errors import RequestInvalid
from worker.generation import GenerationRequest
from worker.ledger.inputs import InputFile, InputObject
from worker.media import content_type_of
from worker.net import is_inside
from worker.providers import PROVIDERS, Provider, input_reference, inputs_of, provider_class, takes_only_links
from worker.services import Services

#: bytes; Ace Data Cloud and Kie.ai accept no larger ones
LARGEST = 10 * 1024 * 1024
EXTENSIONS: Mapping[str, str] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
#: values that are not paths; a reference is checked when it is used
_ELSEWHERE = re.compile(r"(https?://|data:|input:[0-9a-f]{64}\.)", re.IGNORECASE)
_THREADS = 8
#: maximum number of names that an error lists
_LISTED = 5


class _Source(NamedTuple):
    """A file's name and the function that opens it."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]


class InputFiles:
    """The images that a submission refers to. Each file is read and stored once; each reference is looked up once.

    `folder`: what local paths are relative to; None: options must not contain local paths, as in programs' requests.
    """

    def __init__(self, services: Services, folder: Path | None = None) -> None:
        self._services = services
        self._folder = folder
        self._references: dict[str, str] = {}
        self._found: dict[str, tuple[_Source, InputFile]] = {}
        #: stored by an earlier request or an upload, and named by reference
        self._known: dict[str, InputObject] = {}
        #: provider → the bucket's host, if the provider cannot reach it
        self._unreachable: dict[str, str | None] = {}

    def referenced(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """Return the options with paths of files replaced by references to them.

        Raises RequestInvalid, naming the option, for a file that is missing or not an image, and for a reference to a
        file that is not, or no longer, in the bucket.
        """
        for name, value in options.items():
            self._require_known(name, value)
        named = image_options() & options.keys()
        if not named or not self._has_files:
            return options
        found = dict(options)
        for name in named:
            found[name] = [self._reference(name, item) for item in _items(options[name])]
        return found

    def require_usable(self, provider: Provider, request: GenerationRequest) -> None:
        """Raise RequestInvalid for a stored image that this provider cannot accept.

        That is an image above its limit, or one that it would have to open as a link to a bucket that only this machine
        can reach. A provider at an internal address, such as a sandbox or your own proxy, is assumed to reach it.
        """
        for name, value in request.options.items():
            size = self._largest({name: value})
            if provider.input_limit is not None and size > provider.input_limit:
                raise RequestInvalid(
                    f"option {name}: this image is {size / 1e6:.1f} MB, and {provider.title} accepts at most "
                    f"{provider.input_limit >> 20} MB: upload a smaller one, or use {_who_takes(size)}",
                    about=(name,),
                )
        if not takes_only_links(provider, request):
            return
        if provider.name not in self._unreachable:
            bucket = self._services.archive.url("inputs")
            is_cut_off = is_inside(bucket) and not is_inside(self._services.base_url(provider.name))
            self._unreachable[provider.name] = urlsplit(bucket).netloc if is_cut_off else None
        if (bucket_host := self._unreachable[provider.name]) is not None:
            raise RequestInvalid(
                f"{provider.title} accepts images only as links, and cannot reach the bucket at {bucket_host}: give a "
                "public link, or use a bucket that the internet can reach"
            )

    def fitting(self, providers: Sequence[str], request: GenerationRequest) -> tuple[str, ...]:
        """Return the providers whose limits the request's stored images respect."""
        fit = fitting_providers(self._largest(request.options))
        return tuple(name for name in providers if name in fit)

    def store(self) -> None:
        """Store all of them in the bucket.

        Raises RequestInvalid for a reference whose file was pruned since it was checked; ArchiveError,
        LedgerUnavailable or ConfigurationError.
        """
        if not self._found and not self._known:
            return
        archive = self._services.archive
        known = [_file_of(one) for one in self._known.values()]
        files = [one for _, one in self._found.values()]
        # Include known ones, so that what is used now is not pruned before its generation is written.
        objects = self._services.ledger.inputs.record([*known, *files], archive.keys.inputs)
        # A pruned file has a different key now, under which nothing is stored.
        for sha256 in self._known.keys() - self._found.keys():
            if objects[sha256].object_key != self._known[sha256].object_key:
                raise RequestInvalid(
                    f"the stored image with the SHA-256 {sha256} was just deleted, because it had long been "
                    "unused: upload it again"
                )

        def put(sha256: str) -> None:
            source, one = self._found[sha256]
            with source.open() as file:
                put_input(self._services, objects[sha256].object_key, one, file, source.name)

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="inputs") as pool:
            list(pool.map(put, self._found))

    def _largest(self, options: Mapping[str, object]) -> int:
        return max((self._known[one].bytes for one in inputs_of(options) if one in self._known), default=0)

    def _require_known(self, option: str, value: object) -> None:
        wanted = [sha256 for sha256 in inputs_of({option: value}) if sha256 not in self._known]
        if not wanted:
            return
        self._known |= self._services.ledger.inputs.get(wanted)
        if missing := [sha256 for sha256 in wanted if sha256 not in self._known]:
            raise RequestInvalid(
                f"option {option}: there is no stored image with the SHA-256 {missing[0]}, or it was deleted because "
                "it had long been unused: upload it again",
                about=(option,),
            )

    @property
    def _has_files(self) -> bool:
        return self._folder is not None

    def _source(self, option: str, given: str) -> _Source:  # noqa: ARG002
        """Return the file of this name. Raises RequestInvalid, about the option."""
        assert self._folder is not None, "it has files"  # noqa: S101
        return _file_at(given, self._folder)

    def _reference(self, option: str, item: object) -> object:
        if not isinstance(item, str) or is_elsewhere(item):
            return item
        if item not in self._references:
            source = self._source(option, item)
            content, kind = _read(option, item, source)
            sha256, extension = hashlib.sha256(content).hexdigest(), EXTENSIONS[kind]
            file = InputFile(sha256=sha256, bytes=len(content), content_type=kind, extension=extension)
            self._found.setdefault(sha256, (source, file))
            self._references[item] = input_reference(sha256, extension)
        return self._references[item]


class EnclosedFiles(InputFiles):
    """Images sent along with a batch file, by the names that its rows use; links; and uploads.

    `files`: name → its content; a name with folders is also known by its last part if that is unique. Local paths are
    not accepted.
    """

    def __init__(self, services: Services, files: Mapping[str, IO[bytes]]) -> None:
        super().__init__(services)
        self._files = files
        last = Counter(PurePath(name).name for name in files)
        self._by_last = {PurePath(name).name: name for name in files if last[PurePath(name).name] == 1}

    @property
    def _has_files(self) -> bool:
        return True

    def _source(self, option: str, given: str) -> _Source:
        name = given if given in self._files else self._by_last.get(PurePath(given.replace("\\", "/")).name, given)
        if (file := self._files.get(name)) is None:
            there = ", ".join(shown(one) for one in list(self._files)[:_LISTED]) or "none"
            raise RequestInvalid(
                f"option {option}: {shown(given)!r} is not among the images that came with the file ({there}): add "
                "it, or give a link",
                about=(option,),
            )

        @contextmanager
        def opened() -> Iterator[IO[bytes]]:
            file.seek(0)
            yield file

        return _Source(PurePath(name).name, opened)


class UploadedFiles(InputFiles):
    """Images that a program refers to: links and its uploads. Local paths are not accepted."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)

    def referenced(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """As the base class; also raises RequestInvalid for anything but a link or a reference."""
        for name in image_options() & options.keys():
            for item in _items(options[name]):
                if not isinstance(item, str) or not is_elsewhere(item):
                    what = f"option {name}: {shown(item)!r} is not a link, a `data:` link or a reference to an image"
                    raise RequestInvalid(f"{what}: upload the image first, or give its link", about=(name,))
        return super().referenced(options)


def put_input(services: Services, object_key: str, one: InputFile, file: IO[bytes], filename: str) -> None:
    """Put a recorded input file in the bucket; repeating it changes nothing. Raises as `Archive.store` does."""
    services.archive.store(
        object_key,
        file,
        sha256=one.sha256,
        size=one.bytes,
        content_type=one.content_type,
        metadata={},
        filename=filename,
        tags={},
    )


def fitting_providers(size: int) -> tuple[str, ...]:
    """Return the providers that accept an image of this size in bytes."""
    limits = {name: provider_class(name).input_limit for name in PROVIDERS}
    return tuple(name for name, limit in limits.items() if limit is None or size <= limit)


def is_elsewhere(item: str) -> bool:
    """Return whether an image option's value begins like a link or a reference, so is not a path."""
    return _ELSEWHERE.match(item) is not None


def _file_of(known: InputObject) -> InputFile:
    return InputFile(
        sha256=known.sha256,
        bytes=known.bytes,
        content_type=known.content_type,
        extension=EXTENSIONS[known.content_type],
    )


@cache
def image_options() -> frozenset[str]:
    """Return the options of any provider whose values are images."""
    capabilities = (one for name in PROVIDERS for one in provider_class(name).capabilities.values())
    return frozenset(name for one in capabilities for name, option in one.options.items() if option.takes_images)


def _items(value: object) -> Sequence[object]:
    """Split a value: spaces separate links, but a path may contain them."""
    if isinstance(value, list):
        return value
    return value.split() if isinstance(value, str) and is_elsewhere(value) else [value]


def _who_takes(size: int) -> str:
    return " or ".join(fitting_providers(size)) or "a link"


def read_image(option: str, given: str, folder: Path = Path()) -> tuple[bytes, str]:
    """Return the content and the content type of an image file, relative to `folder`.

    Raises RequestInvalid, naming the option, for a file that is missing, too large or not an image.
    """
    return _read(option, given, _file_at(given, folder))


def _file_at(given: str, folder: Path) -> _Source:
    # Shells do not expand a ~ after an equals sign; Path.expanduser raises for unknown users.
    path = folder / os.path.expanduser(given)  # noqa: PTH111
    return _Source(path.name, lambda: path.open("rb"))


def _read(option: str, given: str, source: _Source) -> tuple[bytes, str]:
    try:
        with source.open() as file:
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
    if kind is None or kind not in EXTENSIONS:
        raise RequestInvalid(f"option {option}: {given} is not a PNG, JPEG or WebP image", about=(option,))
    return content, kind
