"""Object keys: one template for all assets."""

import re
from enum import StrEnum

from worker.archive.key_template import DEFAULT_TEMPLATE, KeyTemplate
from worker.archive.key_text import segment
from worker.errors import ConfigurationError
from worker.generation import Generation, Lineage

_SIDECAR_NAME = "generation.json"
_REJECTED = "rejected"
_MANIFESTS = "manifests"
_INPUTS = "inputs"
_MARKER = ".darkroom/ledger.json"
_THUMBNAIL = ".thumb.webp"
#: extensions of images, which may have thumbnails
_IMAGES = ("png", "jpg", "webp", "gif", "avif")
_MANIFEST_NAME = "manifest.jsonl"
#: the formats in which a batch's results may lie beside its manifest
RESULT_FORMATS = ("csv", "jsonl", "xlsx", "html")
_RESULTS = re.compile(rf"results\.({'|'.join(RESULT_FORMATS)})")

#: bytes; S3's limit for a key
_LONGEST_KEY = 1024


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
                f"S3_PREFIX and S3_KEY_TEMPLATE produce keys of up to {longest:,} bytes, but S3 allows "
                f"{_LONGEST_KEY:,}: shorten them"
            )

    def asset(self, generation: Generation, lineage: Lineage, index: int, extension: str) -> str:
        """Return an asset's key; `extension` has no dot."""
        file = self._template.file(generation, lineage, index, extension)
        return f"{self.folder(generation, lineage)}/{file}"

    def stem(self, generation: Generation, lineage: Lineage, index: int) -> str:
        """Return an asset's key up to its extension, with the dot: what is the same whatever format came."""
        return self.asset(generation, lineage, index, "png").removesuffix("png")

    def sidecar(self, generation: Generation, lineage: Lineage) -> str:
        """Return the key of a generation's sidecar, which is beside its assets."""
        return f"{self.folder(generation, lineage)}/{_SIDECAR_NAME}"

    def folder(self, generation: Generation, lineage: Lineage) -> str:
        """Return the folder that belongs to this generation alone, without a trailing slash."""
        return self._below(self._template.folder(generation, lineage))

    def rejected(self, generation_id: str, index: int) -> str:
        """Return the key of a refused file, kept apart from the assets for review."""
        return self._below(f"{_REJECTED}/{generation_id}/{index}.bin")

    def manifest(self, batch_id: str, name: str) -> str:
        """Return the key of a batch's manifest, in its own folder, because a template may spread a batch over many."""
        return self._below(f"{_MANIFESTS}/{segment(name)}/{batch_id}/{_MANIFEST_NAME}")

    @property
    def inputs(self) -> str:
        """Return the folder of the images that users handed in."""
        return self._below(_INPUTS)

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

    @staticmethod
    def thumbnail_beside(key: str) -> str:
        """Return the key of the thumbnail beside this image's key."""
        folder, _, file = key.rpartition("/")
        return f"{folder}/{file.rpartition('.')[0] or file}{_THUMBNAIL}"

    @staticmethod
    def images_beside(key: str) -> list[str]:
        """Return the keys of which one is the image's, if this is the key of a thumbnail."""
        stem = key.removesuffix(_THUMBNAIL)
        return [] if stem == key else [f"{stem}.{extension}" for extension in _IMAGES]

    def _below(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path
