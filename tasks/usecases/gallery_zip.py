"""Gallery images as one ZIP: its length is known before its first byte, and none of it is kept in memory.

The files are stored, in blocks of DEFLATE that compress nothing: images are compressed already. Only then can a
streaming reader tell where a file ends whose checksum follows it.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from tasks.usecases.assets import text_of
from tasks.usecases.batches.download import folded, plain_name
from tasks.usecases.bulk import Chosen, ids_of, settled
from worker.errors import ArchiveError, DarkroomError, NotFound, RequestInvalid
from worker.generation import Asset, AssetState, Generation, Lineage
from worker.services import Services

log = logging.getLogger(__name__)

#: maximum number of files in one ZIP
MOST_FILES = 10_000
_AT_ONCE = 500
_MODE = 0o100644
#: the longest block that DEFLATE stores, and its header
_BLOCK, _BLOCK_HEAD = 65_535, 5
#: bytes of Zip64 headers before and after a file's content and in the directory, without its name, and at the end
_BEFORE, _AFTER, _IN_DIRECTORY, _END = 59, 24, 83, 98


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipFile:
    """One file: an object, or a text. `size`: in bytes."""

    name: str
    size: int
    at: datetime
    object_key: str | None
    sha256: str | None
    text: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipPlan:
    """`left`: how many images are not in it, by reason. `newest`: the newest generation that was considered."""

    files: tuple[ZipFile, ...]
    left: Mapping[str, int]
    total: int
    newest: str | None

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(one.size for one in self.files)

    @property
    def length(self) -> int:
        """Bytes of the ZIP."""
        return _END + sum(
            _BEFORE + _AFTER + _IN_DIRECTORY + 2 * len(one.name.encode()) + _stored_length(one.size)
            for one in self.files
        )


def plan_zip(here: Services, chosen: Chosen) -> ZipPlan:
    """Return what is in the ZIP, according to the ledger.

    Raises RequestInvalid for too many files, and as `gallery`.
    """
    chosen = settled(here, chosen)
    ids, picked = ids_of(here, chosen), chosen.picked()
    files: list[ZipFile] = []
    names: Counter[str] = Counter()
    left: Counter[str] = Counter()
    total = 0
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        lineages, assets = here.ledger.generations.lineages(some), here.ledger.generations.assets_of(some)
        for of in here.ledger.generations.get(some):
            wanted = [one for one in assets[of.id] if not chosen.picks or one.index in picked[of.id]]
            total += max(1, len(wanted))
            if not wanted:
                left[f"has no images: {of.state}"] += 1
            for asset in wanted:
                file = _file(of, lineages[of.id], asset, names)
                if file is None:
                    left["deleted" if asset.state is AssetState.DELETED else "not stored yet"] += 1
                else:
                    files.append(file)
        if len(files) > MOST_FILES:
            raise RequestInvalid(f"more than {MOST_FILES:,} files: narrow the filters, and download them in parts")
    return ZipPlan(files=tuple(files), left=left, total=total, newest=max(ids, default=None))


def stream_zip(here: Services, plan: ZipPlan) -> Iterator[bytes]:
    """Yield the ZIP, `plan.length` bytes.

    Raises ArchiveError midway if an object is missing or has changed: the recipient must notice that the ZIP is
    incomplete.
    """
    # With its cryptography it takes 5 MB, not needed before the first download.
    import stream_zip as library  # noqa: PLC0415

    members = (
        (one.name, one.at, _MODE, library.ZIP_64, _pieces(here, one))
        for one in plan.files
    )  # fmt: skip
    yield from library.stream_zip(members, get_compressobj=_Stored)  # type: ignore[arg-type]


class _Stored:
    """Replaces `zlib.compressobj` without compressing: the output's length depends only on the size."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def compress(self, piece: bytes) -> bytes:
        self._waiting += piece
        blocks = bytearray()
        # Keep one block back, because the last one must be marked.
        while len(self._waiting) > _BLOCK:
            blocks += _block(self._waiting[:_BLOCK], is_last=False)
            del self._waiting[:_BLOCK]
        return bytes(blocks)

    def flush(self) -> bytes:
        return bytes(_block(self._waiting, is_last=True))


def _block(content: bytearray, *, is_last: bool) -> bytearray:
    length = len(content)
    return bytearray((is_last,)) + length.to_bytes(2, "little") + (length ^ 0xFFFF).to_bytes(2, "little") + content


def _stored_length(size: int) -> int:
    return size + _BLOCK_HEAD * max(1, -(-size // _BLOCK))


def _pieces(here: Services, file: ZipFile) -> Iterator[bytes]:
    if file.text is not None:
        yield file.text
        return
    key, size, digest = str(file.object_key), 0, hashlib.sha256()
    try:
        with here.archive.read(key) as pieces:
            for piece in pieces:
                size += len(piece)
                digest.update(piece)
                yield piece
    except NotFound as error:
        raise _broken(file, "is missing from the bucket") from error
    except DarkroomError as error:
        raise _broken(file, f"cannot be read: {error}") from error
    if size != file.size or digest.hexdigest() != file.sha256:
        raise _broken(file, "has different bytes than were archived: run `darkroom verify`")


def _broken(file: ZipFile, why: str) -> ArchiveError:
    told = f'a download was cut short: "{file.object_key}" {why}'
    log.error("%s", told)
    return ArchiveError(told)


def _file(of: Generation, lineage: Lineage, asset: Asset, names: Counter[str]) -> ZipFile | None:
    text = None if asset.content is None else text_of(asset.content).encode()
    if asset.state is not AssetState.STORED or (text is None and (asset.object_key is None or asset.bytes is None)):
        return None
    path = PurePosixPath(asset.object_key or "")
    extension = "txt" if text is not None else path.suffix.removeprefix(".") or "bin"
    name = plain_name(_stem(of, lineage, path), asset.index, extension)
    names[folded(name)] += 1
    if (number := names[folded(name)]) > 1:
        # The same key may exist in another batch.
        while names[folded(name := plain_name(f"{_stem(of, lineage, path)}_{number}", asset.index, extension))]:
            number += 1
        names[folded(name)] += 1
    return ZipFile(
        name=name,
        size=len(text) if text is not None else asset.bytes or 0,
        at=of.created_at,
        object_key=asset.object_key if text is None else None,
        sha256=asset.sha256,
        text=text,
    )


def _stem(of: Generation, lineage: Lineage, path: PurePosixPath) -> str:
    """Return a name from the user's key and actions, as in a batch download; else from the object's folder."""
    key = of.key or lineage.root_key
    if key is None:
        return path.parent.name or of.id
    actions = [] if of.key else [step.action for step in lineage.steps]
    version = of.row_version if of.key else lineage.root_version
    stem = "_".join((key, *actions))
    return stem if version == 1 else f"{stem}_v{version}"
