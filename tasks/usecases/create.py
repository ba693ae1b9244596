"""Creates one generation that a program describes in plain JSON; a repeated key returns the same generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StrictStr,
    ValidationError,
)

from tasks.usecases.batch_file import expand_entry
from tasks.usecases.entry import FIRST, Entry, Place
from tasks.usecases.entry_check import DEFAULT_PROVIDER
from tasks.usecases.submit import SubmitRequest, check, submit
from worker.errors import RequestInvalid
from worker.generation import Generation, Lineage, Operation
from worker.services import Services

#: mistakes listed in one sentence
_TOLD = 3


def _first(operation: Operation) -> Operation:
    if operation not in FIRST:
        raise ValueError(f"{operation} follows another generation; expected one of {', '.join(FIRST)}")
    return operation


def _joined(value: object) -> object:
    """Return a list of texts as the comma-separated text that people write."""
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return ",".join(value) if is_list and isinstance(value, list) else value


_Text = Annotated[StrictStr, BeforeValidator(_joined)]


class GenerationDescription(BaseModel):
    """One generation as a program requests it. `provider`: one, or several in order of preference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: StrictStr
    prompt: StrictStr = ""
    provider: _Text = DEFAULT_PROVIDER
    operation: Annotated[Operation, AfterValidator(_first)] = Operation.IMAGINE
    options: dict[str, JsonValue] = Field(default_factory=dict)
    follow_up: _Text = ""
    priority: StrictInt = 0
    labels: dict[str, StrictStr] = Field(default_factory=dict)
    notify: StrictStr | None = Field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """`is_new`: whether this request made it; otherwise an earlier one with its key did.

    `waits`: why it is not submitted yet.
    """

    generation: Generation
    lineage: Lineage
    is_new: bool
    warnings: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()


def read_description(asked: Mapping[str, object]) -> GenerationDescription:
    """Parse a description. Raises RequestInvalid, naming the field of each mistake."""
    try:
        return GenerationDescription.model_validate(asked)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
        if any(one["loc"] == ("key",) and one["type"] == "missing" for one in mistakes):
            raise RequestInvalid(
                "key is missing: give each request its own key, such as an order number, so that a request that "
                "arrives twice creates one generation",
                about=("key",),
            ) from None
        told = [f"{'.'.join(map(str, one['loc'])) or 'the request'}: {one['msg']}" for one in mistakes]
        more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        fields = ", ".join(GenerationDescription.model_fields)
        raise RequestInvalid(f"{'; '.join(told[:_TOLD])}{more} (the fields are {fields})") from None


def create(here: Services, asked: Mapping[str, object]) -> Created:
    """Create the generation, or find the one that has its key; the caller wakes dispatch if it is new.

    Raises RequestInvalid or ConfigurationError, including for a key that belongs to another request; LedgerUnavailable
    if repeating it later may help.
    """
    one = read_description(asked)
    entry = Entry(
        place=Place(""),
        prompt=one.prompt.strip(),
        key=one.key,
        options=one.options,
        follow_up=one.follow_up,
        priority=one.priority,
        provider=one.provider,
        operation=one.operation,
        labels=one.labels,
        notify=one.notify,
    )
    result = submit(here, check(here, SubmitRequest(entries=expand_entry(entry, 1))))
    (generation,), (warnings,) = result.generations, result.warnings
    return Created(
        generation=generation,
        lineage=here.ledger.generations.lineages([generation.id])[generation.id],
        is_new=generation.id not in result.existing,
        warnings=warnings,
        waits=result.waits,
    )
