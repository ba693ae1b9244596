"""Recognizes files that are not batch files: other encodings, other formats, tables and JSON that pass for prompts.

Every line that counts as a prompt costs money, so files that are clearly something else are refused. Commas,
semicolons, colons, quotes and braces may occur in prompts; none of them is evidence on its own.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.providers import PROVIDERS

ADVICE = (
    "give one prompt per line (.txt), a table with a column `prompt` (.csv, .xlsx), or JSON lines (.jsonl), which have "
    'an object such as {"prompt": "a lighthouse", "key": "sku-1"} on each line'
)
#: the beginning of an object with a name in it; `{"open" sign, "closed" sign}` is a prompt that expands
OBJECT = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:')

_TABLE = "a table"
_SPREADSHEET = "a spreadsheet"
_DOCUMENT = "a document"
_ARCHIVE = "a compressed file"
_PICTURE = "an image or a video"
#: suffix → what such a file is
OTHER_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("psv",), _TABLE),
    **dict.fromkeys(("xls", "xlsb", "ods", "numbers"), _SPREADSHEET),
    **dict.fromkeys(("doc", "docx", "odt", "pages", "rtf", "pdf", "html", "htm", "xml", "svg"), _DOCUMENT),
    **dict.fromkeys(("yaml", "yml", "toml", "ini"), "a configuration file"),
    **dict.fromkeys(("zip", "gz", "bz2", "xz", "zst", "7z", "rar", "tar", "tgz"), _ARCHIVE),
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "avif", "heic", "tif", "tiff", "bmp"), _PICTURE),
    **dict.fromkeys(("mp4", "mov", "webm", "mkv"), _PICTURE),
    **dict.fromkeys(("db", "sqlite", "sqlite3", "parquet", "feather", "avro", "pkl"), "a database"),
    **dict.fromkeys(("py", "js", "ts", "ipynb"), "a program"),
    **dict.fromkeys(("geojson", "json5"), "another kind of JSON"),
}

#: signatures of other file types
_SIGNATURES: Sequence[tuple[re.Pattern[bytes], str]] = tuple(
    (re.compile(begins, re.DOTALL), kind)
    for begins, kind in (
        (rb"PK\x05\x06", "an empty ZIP file"),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file (.xls, .doc): save it as .xlsx"),
        (rb"\x1f\x8b", "a gzip file: unpack it first"),
        (rb"BZh[1-9]1AY&SY", "a bzip2 file: unpack it first"),
        (rb"\xfd7zXZ\x00", "an xz file: unpack it first"),
        (rb"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip file: unpack it first"),
        (rb"Rar!\x1a\x07", "a RAR file: unpack it first"),
        (rb".{257}ustar", "a tar file: unpack it first"),
        (rb"%PDF-", "a PDF"),
        (rb"\{\\rtf", "a rich text document (.rtf)"),
        (rb"\x89PNG\r\n", "a PNG image"),
        (rb"\xff\xd8\xff", "a JPEG image"),
        (rb"GIF8[79]a", "a GIF image"),
        (rb"RIFF....WEBP", "a WebP image"),
        (rb"\x00\x00..ftyp", "a video, or a photo from a phone"),
        (rb"SQLite format 3\x00", "an SQLite database"),
        (rb"PAR1[\x00-\x1f]", "a Parquet file"),
        (rb"\x7fELF", "a program"),
        (rb"bplist0", "a property list"),
    )
)
_ENCODINGS: Sequence[tuple[bytes, str]] = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16 (Excel calls it Unicode text)"),
    (b"\xfe\xff", "UTF-16"),
)
_SAVE_AS_UTF8 = "save it as UTF-8"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: the part of a protected Office file that holds the rest
_PROTECTED = "EncryptedPackage".encode("utf-16-le")


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str

    @property
    def start(self) -> int:
        """Return the column of its first non-blank character."""
        return len(self.text) - len(self.text.lstrip()) + 1


@dataclass(frozen=True, slots=True)
class Misfit:
    """Evidence that a file is not a prompt file: the place, and what the file is instead."""

    line: int
    column: int
    what: str


def misfit_of_head(head: bytes) -> str | None:
    """Return what kind of file begins with these bytes; None if it may be text or a spreadsheet."""
    if _PROTECTED in head and head.startswith(_OLE):
        return "this spreadsheet is password-protected: save it without the password, or as CSV"
    for begins, kind in _SIGNATURES:
        if begins.match(head):
            return f"this is {kind}" if ":" in kind else f"this is {kind}; {ADVICE}"
    return next((f"this is {kind}: {_SAVE_AS_UTF8}" for mark, kind in _ENCODINGS if head.startswith(mark)), None)


def nul_in(beginning: bytes, at: int) -> str:
    """Return what a NUL byte means; `beginning`: of the file, if the NUL is in it."""
    head = beginning[:1000]
    # In UTF-16, every other byte of Latin text is NUL.
    is_utf16 = at < 2 and len(head) > 3 and abs(2 * head.count(b"\x00") - len(head)) < 4
    return f"this is UTF-16 without a BOM: {_SAVE_AS_UTF8}" if is_utf16 else f"a NUL byte, so not text: {ADVICE}"


def misfit_of_text(lines: Sequence[Line]) -> Misfit | None:
    """Check the first lines of a text file for anything but one prompt per line."""
    return next((misfit for misfit in (_program(lines), _table(lines), _markup(lines)) if misfit), None)


def misfit_of_line(line: Line) -> Misfit | None:
    """Check one line of a text file for content that cannot be a prompt."""
    text = line.text.strip()
    if control := CONTROL.search(line.text):
        what = f"a control character (U+{ord(control[0]):04X}), invalid in a prompt: save the file as plain text"
        return Misfit(line.number, control.start() + 1, what)
    if OBJECT.match(text) and text.endswith(("}", "},")):
        what = f"this line is a JSON object, but the first one is not: {ADVICE}"
        return Misfit(line.number, line.start, what)
    if _SIGNS.fullmatch(text):
        what = f"{text[:20]!r} is not a prompt, but part of another format: {ADVICE}"
        return Misfit(line.number, line.start, what)
    return None


#: characters that no prompt or cell contains
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: brackets, rules and fences that JSON, YAML and Markdown put on their own lines
_SIGNS = re.compile(r"[!-/:-@\[-`{-~]+(\s+[!-/:-@\[-`{-~]+)*", re.ASCII)


# --- JSON

_ON_ONE_LINE = "put each object on one line (`jq -c . FILE` does that)"
_LIST = re.compile(r"""\[\s*($|\{\s*($|["']|\w+\s*:)|"(?:[^"\\]|\\.)*"\s*,?\s*$|(["']).*\3\s*,?\s*\]\s*$)""")
_ASSIGNED = re.compile(r"""[\w\s."'-]*[=:]\s*[\[{]\s*""")
_LIKE_OBJECT = re.compile(r"\{\s*'?(\w+)'?\s*:")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.|"")*"')


def is_array(lines: Sequence[Line]) -> bool:
    """Return whether these first lines begin a JSON array rather than a prompt in brackets."""
    text = lines[0].text.strip()
    return _LIST.match(text) is not None or (text.startswith("[") and _is_json(lines))


def object_on_lines(lines: Sequence[Line]) -> Misfit | None:
    """Check for an object that does not end on its line."""
    first = lines[0]
    if not first.text.rstrip().endswith("}") and _spans_lines(lines):
        return Misfit(first.number, first.start, f"this object continues on the next line: {_ON_ONE_LINE}")
    return None


def _program(lines: Sequence[Line]) -> Misfit | None:
    """Check for machine-readable content other than JSON."""
    first = lines[0]
    text = first.text.strip()
    if _ASSIGNED.fullmatch(text) and len(lines) > 1 and lines[1].text.lstrip().startswith(("'", '"', "{", "[")):
        return Misfit(first.number, first.start, f"this is a list from a program: {ADVICE}")
    if (found := _LIKE_OBJECT.match(text)) and found[1].lower() in _STRONG | _WEAK:
        what = f"this is an object, but not JSON: names and texts need double quotes; {ADVICE}"
        return Misfit(first.number, first.start, what)
    *others, last = (line.text.strip() for line in lines)
    is_listed = others and all(item.endswith(",") and _QUOTED.fullmatch(item[:-1]) for item in others)
    if is_listed and _QUOTED.fullmatch(last.removesuffix(",")):
        return Misfit(first.number, first.start, f"this is a quoted list: {ADVICE}, without quotes and commas")
    return None


def _is_json(lines: Sequence[Line]) -> bool:
    try:
        json.loads("\n".join(line.text for line in lines))
    except (ValueError, RecursionError):
        return False
    return True


def _spans_lines(lines: Sequence[Line]) -> bool:
    """Return whether the first object ends on a later line."""
    text = "\n".join(line.text for line in lines).lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return len(lines) > 1 and lines[1].text.lstrip().startswith(('"', "}"))
    return "\n" in text[:end]


# --- tables

_DELIMITERS = "\t;,|"
#: column names that hardly occur in a prompt made of single words, and those that may
_STRONG = frozenset(
    {
        "prompt",
        "prompts",
        "promt",
        "prompt_text",
        "image_prompt",
        "custom_id",
        "aspect_ratio",
        "follow_up",
        "follow_ups",
    }
    | {"промпт", "промт", "提示词", "提示", "プロンプト", "프롬프트"}
)
_WEAK = frozenset(
    {
        "id",
        "key",
        "sku",
        "name",
        "title",
        "label",
        "text",
        "url",
        "count",
        "ratio",
        "options",
        "action",
        "batch",
        "recipe",
    }
    | {"provider", "operation", "priority", "version", "speed", "stylize", "chaos", "weird", "seed", "quality"}
    | {"description", "category", "product", "image", "price", "color", "size", "status", "notes", "tags", "date"}
)
_ABOUT_PROMPTS = re.compile(r"(\w+_)?prompts?(_\(?\w+\)?)?")
_LONGEST_HEADING = 40
_RATIO = re.compile(r"[0-9]{1,4}:[0-9]{1,4}")
#: an article number: groups of letters or digits, or leading zeros
_CODE = re.compile(r"(?=.*[0-9])[a-z0-9]+([-_./][a-z0-9]+)+|0[0-9]{2,}")
_WORDS = frozenset({"true", "false", *PROVIDERS})
_TO_FLAG = re.compile(r"\s*[-\N{EN DASH}\N{EM DASH}]")


def begins_table(lines: Sequence[Line]) -> bool:
    """Return whether the first line is a CSV header, or Excel's `sep=;` before one."""
    first = lines[0]
    text = first.text.strip()
    if text.lower().strip("\"'") in _STRONG or text.lower().strip('"').startswith("sep="):
        return True
    others = [line.text for line in lines[1:]]
    return any(_is_header(_cells(text, delimiter), others, delimiter) for delimiter in "\t;,")


def _table(lines: Sequence[Line]) -> Misfit | None:
    first = lines[0]
    text = first.text.strip()
    if text.startswith("|") and text.endswith("|") and text.count("|") > 2:
        return Misfit(first.number, first.start, f"this is a table: {ADVICE}")
    if _is_header(_cells(text, "|"), [line.text for line in lines[1:]], "|"):
        return _as_table(first, "|", "this is a table header")
    if tabbed := _tabbed(lines):
        return tabbed
    for delimiter in _DELIMITERS[1:]:
        # A single line is a table row only if several cells show it.
        if _columns_of_values(lines, delimiter) > (len(lines) == 1):
            return _as_table(first, delimiter, f"every line has the same columns, separated by {delimiter!r}")
    return None


def _as_table(line: Line, delimiter: str, what: str) -> Misfit:
    return Misfit(line.number, line.text.find(delimiter) + 1, f"{what}, but no header names them: {ADVICE}")


def _is_header(cells: Sequence[str], others: Sequence[str], delimiter: str) -> bool:
    if len(cells) < 2 or max(map(len, cells)) > _LONGEST_HEADING:
        return False
    words = {re.sub(r"[\s-]+", "_", _bare(cell)) for cell in cells}
    if words & _STRONG:
        return True
    alike = bool(others) and all(len(_cells(text.strip(), delimiter)) == len(cells) for text in others)
    # In a sentence, a space follows a comma.
    alike = alike and not any(cell.startswith(" ") for cell in cells)
    return alike and (len(words & _WEAK) > 1 or any(map(_ABOUT_PROMPTS.fullmatch, words)))


def _tabbed(lines: Sequence[Line]) -> Misfit | None:
    """Check for spreadsheet cells: tabs in most lines. A tab before a parameter is only alignment."""
    places = [
        (line, at)
        for line in lines
        if "\t" in line.text
        and (at := next((at for at in _tabs(line.text) if not _TO_FLAG.match(line.text, at)), None)) is not None
    ]
    if 2 * len(places) < len(lines) or not places:
        return None
    line, at = places[0]
    what = f"a tab, as between table cells, but no header: {ADVICE}"
    return Misfit(line.number, at + 1, what)


def _tabs(text: str) -> Iterator[int]:
    """Yield the positions of tabs between words."""
    end = len(text.rstrip())
    return (found.start() for found in re.finditer("\t", text) if text[: found.start()].strip() and found.start() < end)


def _columns_of_values(lines: Sequence[Line], delimiter: str) -> int:
    """Count the columns whose values all cannot be prompt text; 0 if lines differ in their number of columns."""
    rows: list[list[str]] = []
    for line in lines:
        row = _cells(line.text.strip(), delimiter)
        if len(row) < 2 or (rows and len(row) != len(rows[0])):
            return 0
        rows.append(row)
    found = 0
    for column in zip(*rows, strict=True):
        # In a sentence, a space follows a comma.
        if any(cell.startswith(" ") for cell in column):
            continue
        values = [_bare(cell) for cell in column]
        is_code = all(_CODE.fullmatch(value) for value in values) and len(set(values)) == len(values)
        found += is_code or all(_RATIO.fullmatch(value) or value in _WORDS for value in values)
    return found


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return [text]


def _bare(cell: str) -> str:
    return cell.strip().strip("\"'").strip().lower()


# --- neither of these

_TAG = re.compile(r"<[?!a-z][^<>]*>", re.IGNORECASE)
_PROMPTS = re.compile(r"\[{1,2}prompts?\]{1,2}|prompts?\s*[:=]\s*(\[.*)?", re.IGNORECASE)
_RECORD = re.compile(r"""(?:-\s+)?["']?(\w+)["']?\s*[:=]\s""")


def _markup(lines: Sequence[Line]) -> Misfit | None:
    first = lines[0]
    text = first.text.strip()
    if _TAG.match(text) and (text[1] in "?!" or any("</" in line.text for line in lines)):
        return Misfit(first.number, first.start, f"this is HTML or XML: {ADVICE}")
    # Not a single `prompt: a fox`, which people paste.
    found = [_RECORD.match(f"{line.text.strip()} ") for line in lines[:3]]
    names = {one[1].lower() for one in found if one}
    if all(found) and "prompt" in names and (len(names & (_STRONG | _WEAK)) > 1 or text.startswith("-")):
        return Misfit(first.number, first.start, f"this is YAML or a configuration file: {ADVICE}")
    if _PROMPTS.fullmatch(text):
        return Misfit(first.number, first.start, f"this is YAML or a configuration file: {ADVICE}")
    return None
