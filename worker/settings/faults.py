"""What pydantic finds wrong with a setting, in our words: its name, its value unless secret, and what is allowed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from worker.errors import ConfigurationError
from worker.secrets import redact

_LONGEST_VALUE = 60


class Unreadable:
    """Stands for a value whose file cannot be read, so that this is reported as one fault among others."""

    def __init__(self, error: ConfigurationError) -> None:
        self.sentence = str(error)


def sentences(error: ValidationError, fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    """Yield one or more lines for each fault."""
    for problem in error.errors():
        said = problem["msg"].removeprefix("Value error, ")
        if isinstance(problem["input"], Unreadable):
            yield problem["input"].sentence
        elif not problem["loc"]:
            # A contradiction names its settings itself.
            yield said
        elif problem["type"] == "value_error":
            yield from (f"{str(problem['loc'][0]).upper()}: {line}" for line in said.splitlines())
        else:
            name = str(problem["loc"][0])
            yield _sentence(name.upper(), str(problem["input"]), fields[name])


def _sentence(name: str, value: str, field: FieldInfo) -> str:
    shown = redact(value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…")
    example = next(iter(field.examples or [field.default]))
    written = str(example).lower() if isinstance(example, bool) else str(example).removesuffix(".0")
    return f"{name}: {shown!r} is not {_allowed(field)}; write for example {name}={written}"


def _allowed(field: FieldInfo) -> str:
    kind = field.annotation
    if field.description:
        return field.description
    if get_origin(kind) is Literal:
        *others, last = map(str, get_args(kind))
        return f"{', '.join(others)} or {last}"
    if kind is bool:
        return "true or false"
    number = "a whole number" if kind is int else "a number"
    return f"{number}{_bounds(field.metadata)}"


def _bounds(metadata: Sequence[object]) -> str:
    """Describe pydantic's constraints on a number."""
    least, above, most = (
        next((f" {words} {limit:,}" for one in metadata if (limit := getattr(one, name, None)) is not None), "")
        for name, words in (("ge", "from"), ("gt", "above"), ("le", "up to"))
    )
    return f"{least}{above}{most}" if most or above else f"{least}{' on' if least else ''}"
