"""File names of downloads: the user's template, filled in so that every file system accepts the result."""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

from tasks.usecases.batch_file import CHOICE
from tasks.usecases.batches.results import Cell, as_cell
from worker.archive import bytes_of, cut_escaped, first_words, marked_digest
from worker.errors import RequestInvalid
from worker.generation import Asset, State
from worker.ledger.generations import BatchResult

DEFAULT_NAME = "{key}_{index}.{ext}"
_EXAMPLE, _EXAMPLE_RESULT = "{batch}/{root}/{action}_{index}.{ext}", "shop/0042/upscale1_0.png"

#: field → what it is
FIELDS: Mapping[str, str] = {
    "key": "your key; for a follow-up, its root's key and its actions (0042_upscale1)",
    "root": "the key of the first generation, for its follow-ups too",
    "action": "upscale1, variation2_upscale1, …; imagine",
    "index": "0, 1, …: which of the generation's results",
    "ext": "png, jpg, webp, mp4, …",
    "id": "the generation's id",
    "row": "the row's place in your file",
    "batch": "the batch's name",
    "provider": "the provider",
    "operation": "imagine, upscale, …",
    "choice": "what a template chose for it",
    "prompt": "the prompt; {prompt:40}: at most 40 characters of it",
}
_FIELD = re.compile(r"\{([^{}]*)\}")
_WIDTH = re.compile(r"prompt:([0-9]{1,3})")
#: as in S3_KEY_TEMPLATE, for columns with one of our names
_COLUMN = "column:"
_WIDEST = 120
#: characters that some file system refuses in a name, and our own escape characters
_ESCAPED = re.compile(r'[<>:"\\|?*=~]')
_LITERAL = re.compile(r'[<>:"\\|?*]')
#: Windows device names, with any suffix
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
#: maximum characters of a filled-in field, and bytes of a whole part: most file systems accept 255
_LONGEST_VALUE, _LONGEST_PART = 80, 200


class NameTemplate:
    """Raises RequestInvalid with all faults at once. `columns`: the user's own, which are fields as well."""

    def __init__(self, text: str, columns: Collection[str] = ()) -> None:
        self.text = text
        self._columns = frozenset(columns)
        if faults := list(dict.fromkeys(self._faults())):
            more = sorted(self._columns - {CHOICE})
            raise RequestInvalid(
                "\n".join(
                    [
                        *(f"--name: {fault}" for fault in faults),
                        f"fields: {', '.join(FIELDS)}"
                        + (f"; your columns: {', '.join(more)}, as {{NAME}} or {{column:NAME}}" if more else ""),
                        f"for example {_EXAMPLE} → {_EXAMPLE_RESULT}",
                    ]
                )
            )

    def like(self, text: str) -> "NameTemplate":
        """Return another template with the same columns."""
        return NameTemplate(text, self._columns)

    def name(self, one: BatchResult, asset: Asset) -> str:
        """Return the path of a result below the folder, with `/` between its parts."""
        values = _values(one, asset)

        def value(found: re.Match[str]) -> str:
            field = found[1]
            if width := _WIDTH.fullmatch(field):
                return _escaped(_shortened(one.generation.prompt, int(width[1])))
            known = values[field] if field in values else as_cell(one.root.input.get(field.removeprefix(_COLUMN)))
            return _escaped("" if known is None else str(known))

        return "/".join(_part(_FIELD.sub(value, part)) for part in self.text.split("/"))

    def _faults(self) -> Iterator[str]:
        for field in _FIELD.findall(self.text):
            width = _WIDTH.fullmatch(field)
            if width and not 1 <= int(width[1]) <= _WIDEST:
                yield f"{{{field}}} must have 1 to {_WIDEST} characters"
            elif not width and field not in FIELDS and field.removeprefix(_COLUMN) not in self._columns:
                yield f"{{{field}}} is neither a field nor a column of the batch"
        plain = _FIELD.sub("", self.text)
        if "{" in plain or "}" in plain:
            yield "a { or } is not closed"
        if found := _LITERAL.search(plain) or (not plain.isprintable() and re.search(r"[^ -~]", plain)):
            yield f"{found[0]!r} is not allowed in file names on some systems"
        parts = _FIELD.sub("x", self.text).split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or self.text.startswith("~"):
            yield 'it must be a path below the folder, without empty parts, "." or ".."'
        if not self.text.endswith(".{ext}"):
            yield "it must end with .{ext}"


def plain_name(stem: str, index: int, extension: str) -> str:
    """Return a file name without folders that every file system accepts."""
    return _part(f"{_escaped(stem)}_{index}.{extension}")


def folded(name: str) -> str:
    """Return the common form of names that are the same file on some file system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _values(one: BatchResult, asset: Asset) -> Mapping[str, Cell]:
    generation, root = one.generation, one.root
    own = generation.key or "_".join((one.lineage.root_key or one.lineage.root_id, *one.actions))
    version = generation.row_version if generation.key else one.lineage.root_version
    return {
        "key": own if version == 1 else f"{own}_v{version}",
        "root": one.lineage.root_key or one.lineage.root_id,
        "action": "_".join(one.actions) or generation.operation,
        "index": asset.index,
        "ext": PurePosixPath(str(asset.object_key)).suffix.removeprefix(".") or "bin",
        "id": generation.id,
        "row": root.row_number,
        "batch": one.lineage.batch,
        "provider": generation.provider,
        "operation": generation.operation,
        "choice": as_cell(root.input.get(CHOICE)) if generation.state is not State.DELETED else None,
        "prompt": _shortened(generation.prompt, _LONGEST_VALUE),
    }


def _shortened(prompt: str, width: int) -> str:
    return first_words(" ".join(prompt.split()), width, " ")


def _escaped(value: str) -> str:
    """Return a value as part of a name; values that differ in NFC give different parts."""
    text = unicodedata.normalize("NFC", value)
    shown = "".join(sign if sign.isprintable() and not _ESCAPED.match(sign) else bytes_of(sign) for sign in text)
    # As in the keys of expanded rows: 0042/1.
    shown = shown.replace("/", "~")
    if len(shown) <= _LONGEST_VALUE:
        return shown
    return f"{cut_escaped(shown, _LONGEST_VALUE)}{marked_digest(value)}"


def _part(part: str) -> str:
    """Return a folder or file name that no file system interprets differently."""
    if not part:
        return "_"
    if len(part.encode()) > _LONGEST_PART:
        stem, dot, suffix = part.rpartition(".")
        stem = stem if dot and len(suffix) <= 5 else part
        end = f"{marked_digest(part)}{part[len(stem) :]}"
        while len(stem.encode()) + len(end) > _LONGEST_PART:
            stem = stem[:-1]
        part = f"{cut_escaped(stem, len(stem))}{end}"
    if part[0] in ".-~ " or _DEVICE.fullmatch(part.partition(".")[0].rstrip()):
        part = bytes_of("/" if part[0] == "~" else part[0]) + part[1:]
    if part[-1] in ". ":
        part = part[:-1] + bytes_of(part[-1])
    return part
