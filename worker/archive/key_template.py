"""S3_KEY_TEMPLATE: which fields it may have, and whether two assets could get one key."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from itertools import pairwise

from worker.archive.key_text import SEGMENT_LIMIT, segment, words
from worker.generation import TEST_BATCH, Generation, Lineage

DEFAULT_TEMPLATE = "{prefix}/{yyyy}/{mm}/{dd}/{batch}/{root}/{action}/{index}.{ext}"
#: puts the assets of the key 0042 in 0042/0042-0.png and so on
TEMPLATE_EXAMPLE = "{prefix}/{batch}/{root}/{action}/{root}-{index}.{ext}"
NO_BATCH = "single"
#: behind the folder of a batch of tests; no segment ends with it
_OF_TESTS = "=test"

#: a key, or the number of one of several that a row expands to, and its version
_KEY_LIMIT = SEGMENT_LIMIT + 12
#: characters of actions from the root; of more, the id says where it belongs
_ACTIONS_LIMIT = 160
#: fields and their longest values. `batch` is its name, or "single", and `=test` behind it for tests; `root` is the
#: user's key of the first ancestor, or else its id; `key` is the generation's own; the day is that of the root's
#: creation in UTC; `action` leads from the root to the generation.
_WIDTHS = {
    "yyyy": 4,
    "mm": 2,
    "dd": 2,
    "batch": SEGMENT_LIMIT + len(_OF_TESTS),
    "root": _KEY_LIMIT,
    "action": _ACTIONS_LIMIT,
    "key": _KEY_LIMIT,
    "generation": 40,
    "provider": 20,
    "operation": 20,
    "index": 4,
    "ext": 5,
}
#: these differ among the assets of a generation, which share a folder with their sidecar
_OF_ASSET = {"index", "ext"}
#: `{prompt:40}` and `{column:client}`
_LONGEST_PROMPT = 80
_FIELD = re.compile(r"\{(\w+)(?::([^{}/]+))?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._=-]*")
_KNOWN = f"{', '.join(_WIDTHS)}, prompt:40, column:NAME"
#: a row that expands to several has their number behind its key
_NUMBERED = re.compile(r"(.+)/([1-9][0-9]{0,4})", re.DOTALL)
#: what stands for an empty column
_NO_VALUE = "none"
_EXAMPLE = {
    "yyyy": "2026",
    "mm": "11",
    "dd": "21",
    "batch": "spring",
    "root": "0042",
    "action": "upscale1",
    "key": "0042",
    "generation": "gen_019aa6b5c7d0",
    "provider": "vendor",
    "operation": "upscale",
    "index": "0",
    "ext": "png",
}


class KeyTemplate:
    """A parsed S3_KEY_TEMPLATE. Raises ValueError, with a line for each fault, if two assets could get one key."""

    def __init__(self, text: str) -> None:
        if faults := list(dict.fromkeys(_faults(text))):
            known = f"fields: prefix, {_KNOWN}"
            result = KeyTemplate(TEMPLATE_EXAMPLE).example()
            raise ValueError("\n".join((*faults, known, f"such as {TEMPLATE_EXAMPLE}, which gives {result}")))
        *self._folders, self._file = text.split("/")[1:]

    def folder(self, generation: Generation, lineage: Lineage) -> str:
        """Return the folder that belongs to this generation alone."""
        fields = _Fields(generation, lineage)
        filled = (_FIELD.sub(lambda found: fields.value(*found.groups()), folder) for folder in self._folders)
        # A root has no action, so no folder for it.
        return "/".join(folder for folder in filled if folder)

    def file(self, generation: Generation, lineage: Lineage, index: int, extension: str) -> str:
        fields = _Fields(generation, lineage, index=str(index), ext=extension)
        return _FIELD.sub(lambda found: fields.in_file_name(*found.groups()), self._file)

    def example(self) -> str:
        return "/".join(_FIELD.sub(_shown, part) for part in (*self._folders, self._file))

    @property
    def longest(self) -> int:
        """The length of the longest possible key, without the prefix."""
        parts = (*self._folders, self._file)
        return sum(1 + len(_FIELD.sub("", part)) + sum(map(_width, _FIELD.findall(part))) for part in parts) - 1


class _Fields:
    """The values of a template's fields for one generation."""

    def __init__(self, generation: Generation, lineage: Lineage, **asset: str) -> None:
        day = lineage.root_created_at.astimezone(UTC)
        own = generation.key
        self._input = lineage.root_input
        self._prompt = generation.prompt
        self._values = {
            "yyyy": f"{day:%Y}",
            "mm": f"{day:%m}",
            "dd": f"{day:%d}",
            "batch": _batch(generation, lineage),
            "root": _key(lineage.root_key, lineage.root_version) if lineage.root_key else lineage.root_id,
            "action": _actions(generation, lineage),
            "key": _key(own, generation.row_version) if own else generation.id,
            "generation": generation.id,
            "provider": generation.provider,
            "operation": generation.operation,
            **asset,
        }

    def value(self, name: str, detail: str | None) -> str:
        if name == "prompt":
            return words(self._prompt, int(detail or 0))
        if name == "column":
            value = self._input.get(detail or "")
            return _NO_VALUE if value is None or value == "" else segment(str(value))
        return self._values[name]

    def in_file_name(self, name: str, detail: str | None) -> str:
        """As `value`, but without folders, and a root's action is what it does."""
        value = self.value(name, detail).replace("/", "-")
        return value or self._values["operation"]


def _batch(generation: Generation, lineage: Lineage) -> str:
    """The same key may belong to a test and to a generation that is paid for, so a test is in a folder of its own."""
    name = lineage.batch
    if not generation.is_test:
        return NO_BATCH if name is None else segment(name)
    return f"{NO_BATCH if name is None else segment(name.removesuffix(TEST_BATCH))}{_OF_TESTS}"


def _key(key: str, version: int) -> str:
    """`0042`; `0042/1`, the first of several that a row expands to; `0042=v2`, the second version of a row."""
    numbered = _NUMBERED.fullmatch(key)
    escaped = segment(key) if numbered is None else f"{segment(numbered[1])}/{numbered[2]}"
    return escaped if version == 1 else f"{escaped}=v{version}"


def _actions(generation: Generation, lineage: Lineage) -> str:
    """`variation2/upscale1`; what a person submits beside a recipe's own follow-up has its key or id behind it."""
    steps = [step.action if step.mark is None else f"{step.action}-{segment(step.mark)}" for step in lineage.steps]
    joined = "/".join(steps)
    return joined if len(joined) <= _ACTIONS_LIMIT else generation.id


def _shown(found: re.Match[str]) -> str:
    name, detail = found.groups()
    if name == "prompt":
        return words("a lighthouse at dusk, oil painting", int(detail))
    return segment(str(detail)) if name == "column" else _EXAMPLE[name]


def _width(field: tuple[str, str]) -> int:
    name, detail = field
    if name == "prompt":
        return int(detail)
    return SEGMENT_LIMIT if name == "column" else _WIDTHS[name]


def _faults(text: str) -> Iterator[str]:
    start, *segments = text.split("/")
    if start != "{prefix}" or not segments or "{prefix}" in "".join(segments):
        yield f'"{text}" must start with {{prefix}}/ and use it only there'
        segments = [one for one in text.split("/") if one != "{prefix}"]
    *folders, last = segments or [""]
    for folder in folders:
        yield from _faults_of_part(text, folder, is_folder=True)
    yield from _faults_of_part(text, last, is_folder=False)
    if not _is_unique(folders):
        yield (
            f'"{text}" needs the folders {{batch}}/{{root}}/{{action}}, or {{batch}} and {{key}}, or {{generation}}, '
            "each alone between slashes, or two generations could get the same key"
        )
    if "{index}" not in last or not last.endswith(".{ext}"):
        yield f'"{text}" must end with a file name that contains {{index}} and ends with .{{ext}}'


def _faults_of_part(text: str, part: str, *, is_folder: bool) -> Iterator[str]:
    for name, detail in _FIELD.findall(part):
        if fault := _fault_of_field(name, detail):
            yield f'"{text}" {fault}'
        elif name in _OF_ASSET and is_folder:
            yield f'"{text}" has {name} in a folder: move it to the file name'
        elif name == "action" and is_folder and part != "{action}":
            yield f'"{text}" needs {{action}} alone between slashes, because a first generation has none'
    if not _LITERAL.fullmatch(_FIELD.sub("", part)):
        yield f'{text!r} may have only letters, digits, ".", "_", "=", "-" and "/" around its fields'
    if part in {"", ".", ".."}:
        yield f'"{text}" has an empty part, "." or "..": use plain names'


def _fault_of_field(name: str, detail: str) -> str | None:
    if name == "prompt":
        fits = detail.isascii() and detail.isdecimal() and 1 <= int(detail) <= _LONGEST_PROMPT
        return None if fits else f"needs a number from 1 to {_LONGEST_PROMPT} for the prompt, such as {{prompt:40}}"
    if name == "column":
        return None if detail else "needs the name of one of your columns, such as {column:client}"
    if name not in _WIDTHS:
        return f"names {name}, which is not a field"
    return f'has ":{detail}" after {name}, which takes no argument' if detail else None


def _is_unique(folders: Sequence[str]) -> bool:
    # Beside another value in one folder, "a" and "bc" would be "ab" and "c".
    alone = [fields[0][0] for folder in folders if len(fields := _FIELD.findall(folder)) == 1]
    if "generation" in alone:
        return True
    return "batch" in alone and ("key" in alone or ("root", "action") in pairwise(alone))
