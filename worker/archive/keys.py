"""Object keys: one template for all assets."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC
from enum import StrEnum

from worker.errors import ConfigurationError
from worker.generation import Generation

DEFAULT_TEMPLATE = "{prefix}/{yyyy}/{mm}/{dd}/{batch}/{key}/{index}.{ext}"
#: puts the assets of the key 0042 in 0042/0042-0.png and so on
TEMPLATE_EXAMPLE = "{prefix}/{batch}/{key}/{key}-{index}.{ext}"

_SIDECAR_NAME = "generation.json"
_NO_BATCH = "single"
_REJECTED = "rejected"
_MANIFESTS = "manifests"
_MARKER = ".darkroom/ledger.json"
_MANIFEST_NAME = "manifest.jsonl"
#: the formats in which a batch's results may lie beside its manifest
RESULT_FORMATS = ("csv", "jsonl", "xlsx", "html")
_RESULTS = re.compile(rf"results\.({'|'.join(RESULT_FORMATS)})")

#: characters; two slugs, a prefix and the rest stay far below S3's limit
_SLUG_LIMIT = 80
#: bytes; S3's limit for a key
_LONGEST_KEY = 1024
#: a slug that equals the caller's text
_FAITHFUL = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
#: reserved names: a caller's text that looks like one gets a hash
_OURS = re.compile(rf"{_NO_BATCH}|{_REJECTED}|{_MANIFESTS}|gen_[0-9a-f]+")
#: hexadecimal digits that distinguish texts with the same slug
_DIGEST_LENGTH = 16
_DIGEST_SUFFIX = re.compile(rf"-[0-9a-f]{{{_DIGEST_LENGTH}}}$")

#: the fields of a template, and the maximum length of each. `batch` is its name, or "single"; `key` is the user's key,
#: or else the generation's id; `generation` is always the id; the day is the generation's day of creation in UTC.
_FIELDS = {
    "yyyy": 4,
    "mm": 2,
    "dd": 2,
    "batch": _SLUG_LIMIT,
    "key": _SLUG_LIMIT,
    "generation": 40,
    "provider": 20,
    "operation": 20,
    "index": 4,
    "ext": 5,
}
#: fields with the same value for all assets of a generation, which share a folder with their sidecar
_FOLDER_FIELDS = _FIELDS.keys() - {"index", "ext"}
_FIELD = re.compile(r"\{(\w+)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._=-]*")


class Kind(StrEnum):
    ASSET = "asset"
    SIDECAR = "sidecar"
    MANIFEST = "manifest"
    #: of a batch, as a table or a page for people
    RESULTS = "results"
    #: refused files
    REJECTED = "rejected"
    #: shows a ledger restored from a backup that it is old
    MARKER = "marker"


class KeyTemplate:
    """A parsed S3_KEY_TEMPLATE. Raises ValueError, with a line for each fault, if two assets could get one key."""

    def __init__(self, text: str) -> None:
        if faults := list(dict.fromkeys(_faults(text))):
            raise ValueError("\n".join((*faults, f"such as {TEMPLATE_EXAMPLE}")))
        *folders, self._file = text.split("/")[1:]
        self._folder = "/".join(folders)

    def folder(self, fields: Mapping[str, str]) -> str:
        return _filled(self._folder, fields)

    def file(self, fields: Mapping[str, str]) -> str:
        return _filled(self._file, fields)

    @property
    def longest(self) -> int:
        """The length of the longest possible key, without the prefix."""
        widest = {name: "x" * width for name, width in _FIELDS.items()}
        return len(f"{self.folder(widest)}/{self.file(widest)}")


def _faults(text: str) -> Iterator[str]:
    start, *segments = text.split("/")
    if start != "{prefix}" or not segments or "{prefix}" in "".join(segments):
        yield f'"{text}" must start with {{prefix}}/ and name it only there'
        segments = [one for one in text.split("/") if one != "{prefix}"]
    *folders, last = segments or [""]
    for folder in folders:
        yield from _faults_of_segment(text, folder, _FOLDER_FIELDS)
    yield from _faults_of_segment(text, last, _FIELDS)
    # Alone between slashes, which no text contains: beside another text, "a" and "bc" would be "ab" and "c".
    if not any(_FIELD.findall(folder) in (["key"], ["generation"]) for folder in folders):
        yield (
            f'"{text}" needs a folder with {{key}} or {{generation}} as its only field, '
            "or two generations could get the same key"
        )
    if "{index}" not in last or not last.endswith(".{ext}"):
        yield f'"{text}" must end with a file name that has {{index}} and ends with .{{ext}}'


def _faults_of_segment(text: str, segment: str, allowed: Collection[str]) -> Iterator[str]:
    for name in _FIELD.findall(segment):
        if name not in _FIELDS:
            yield f'"{text}" names {name}, but the fields are prefix, {", ".join(_FIELDS)}'
        elif name not in allowed:
            yield f'"{text}" names {name} in a folder, which belongs in the file name'
    literal = _FIELD.sub("", segment)
    if not _LITERAL.fullmatch(literal):
        yield f'{text!r} may have only letters, digits, ".", "_", "=", "-" and "/" around its fields'
    if segment in {"", ".", ".."}:
        yield f'"{text}" has an empty part, "." or "..": use plain names'


def _filled(part: str, fields: Mapping[str, str]) -> str:
    # Not str.format, which would follow attributes and fill in what a filled-in text contains.
    return _FIELD.sub(lambda field: fields[field[1]], part)


class Keys:
    """All keys below one prefix. Raises ConfigurationError for an invalid prefix or template.

    The same generation always gives the same keys, so a repeated store finds the result of an interrupted one.
    """

    def __init__(self, prefix: str = "", template: str = DEFAULT_TEMPLATE) -> None:
        self.prefix = prefix.strip("/")
        if self.prefix and not {"", ".", ".."}.isdisjoint(self.prefix.split("/")):
            raise ConfigurationError(f'S3_PREFIX "{prefix}" has an empty part, "." or "..": use plain names')
        if not self.prefix.isprintable():
            raise ConfigurationError(f"S3_PREFIX {prefix!r} has characters that cannot be printed: use plain names")
        try:
            self._template = KeyTemplate(template)
        except ValueError as error:
            raise ConfigurationError(f"S3_KEY_TEMPLATE: {error}") from error
        longest = len(self.prefix.encode()) + 1 + self._template.longest
        if longest > _LONGEST_KEY:
            raise ConfigurationError(
                f"S3_PREFIX and S3_KEY_TEMPLATE make keys of up to {longest:,} bytes, but S3 allows "
                f"{_LONGEST_KEY:,}: shorten them"
            )

    def asset(self, generation: Generation, batch: str | None, index: int, extension: str) -> str:
        """Return an asset's key; `batch` is the batch's name, `extension` has no dot."""
        file = self._template.file({**_fields(generation, batch), "index": str(index), "ext": extension})
        return f"{self.folder(generation, batch)}/{file}"

    def sidecar(self, generation: Generation, batch: str | None) -> str:
        """Return the key of a generation's sidecar, which is beside its assets."""
        return f"{self.folder(generation, batch)}/{_SIDECAR_NAME}"

    def folder(self, generation: Generation, batch: str | None) -> str:
        """Return the folder that belongs to this generation alone, without a trailing slash."""
        return self._below(self._template.folder(_fields(generation, batch)))

    def rejected(self, generation_id: str, index: int) -> str:
        """Return the key of a refused file, kept apart from the assets for review."""
        return self._below(f"{_REJECTED}/{generation_id}/{index}.bin")

    def manifest(self, batch_id: str, name: str) -> str:
        """Return the key of a batch's manifest, in its own folder, because a template may spread a batch over many."""
        return self._below(f"{_MANIFESTS}/{slug(name)}/{batch_id}/{_MANIFEST_NAME}")

    def results(self, batch_id: str, name: str, extension: str) -> str:
        """Return the key of a batch's results in one of RESULT_FORMATS, beside its manifest."""
        return f"{self.manifest(batch_id, name).rpartition('/')[0]}/results.{extension}"

    @property
    def marker(self) -> str:
        """Return the key of the ledger's marker, in a folder that no generation uses."""
        return self._below(_MARKER)

    def kind(self, key: str) -> Kind:
        """Return what one of our own keys is for."""
        if key == self.marker:
            return Kind.MARKER
        if key.startswith(self._below(f"{_REJECTED}/")) and key.endswith(".bin"):
            return Kind.REJECTED
        if key.startswith(self._below(f"{_MANIFESTS}/")) and key.endswith(f"/{_MANIFEST_NAME}"):
            return Kind.MANIFEST
        if key.startswith(self._below(f"{_MANIFESTS}/")) and _RESULTS.fullmatch(key.rpartition("/")[2]):
            return Kind.RESULTS
        return Kind.SIDECAR if key.endswith(f"/{_SIDECAR_NAME}") else Kind.ASSET

    @staticmethod
    def sidecar_beside(key: str) -> str:
        """Return the key of the sidecar beside this asset's key."""
        return f"{key.rpartition('/')[0]}/{_SIDECAR_NAME}"

    def _below(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path


def _fields(generation: Generation, batch: str | None) -> dict[str, str]:
    day = generation.created_at.astimezone(UTC)
    return {
        "yyyy": f"{day:%Y}",
        "mm": f"{day:%m}",
        "dd": f"{day:%d}",
        "batch": _NO_BATCH if batch is None else slug(batch),
        "key": slug(generation.key) if generation.key else generation.id,
        "generation": generation.id,
        "provider": generation.provider,
        "operation": generation.operation,
    }


def slug(text: str) -> str:
    """Return a text as one safe path segment; different texts give different segments, none of them reserved."""
    faithful = len(text) <= _SLUG_LIMIT and _FAITHFUL.fullmatch(text)
    if faithful and not _OURS.fullmatch(text) and not _DIGEST_SUFFIX.search(text):
        return text
    folded = unicodedata.normalize("NFKD", text).casefold().encode("ascii", "ignore").decode("ascii")
    words = re.sub(r"[^a-z0-9._-]+", "-", folded).lstrip(".-")[: _SLUG_LIMIT - 1 - _DIGEST_LENGTH].rstrip(".-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{words or 'unnamed'}-{digest}"
