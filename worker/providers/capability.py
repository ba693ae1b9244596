"""What a provider can express: a table per operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.generation import Operation
from worker.providers.options import Option


class Prompt(StrEnum):
    REQUIRED = "required"
    OPTIONAL = "optional"
    #: what is given is left out: a follow-up carries its parent's prompt with it
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Capability:
    """One operation. `needs`: options without which it is nothing; `actions`: the follow-ups that it stands for."""

    options: Mapping[str, Option] = field(default_factory=dict)
    prompt: Prompt = Prompt.REQUIRED
    needs: frozenset[str] = frozenset()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """What one POST sends, all but the mark: what `Provider.translate` gives to `Provider.submit`.

    `window`: what is filled in where the reply opens one of Discord's dialogs.
    """

    operation: Operation
    action: str | None
    path: str
    body: Mapping[str, object]
    window: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """A request in the terms of the provider's table.

    `prompt` ends with the Midjourney parameters that have no field of their own; `fields` stand in the body under these
    names; `placed` are options that the provider's own code puts somewhere.
    """

    prompt: str
    fields: Mapping[str, object]
    placed: Mapping[str, object]
