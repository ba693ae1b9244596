"""Capability tables: what a provider supports, by operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.generation import Operation
from worker.providers.options import Option


class Prompt(StrEnum):
    REQUIRED = "required"
    OPTIONAL = "optional"
    #: ignored if given: a follow-up carries its parent's prompt
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Capability:
    """One operation. `needs`: its required options; `actions`: its follow-up actions."""

    options: Mapping[str, Option] = field(default_factory=dict)
    prompt: Prompt = Prompt.REQUIRED
    needs: frozenset[str] = frozenset()
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """The content of one POST without the mark; `Provider.translate` returns it, `Provider.submit` sends it.

    `window`: values for the Discord dialog that the reply opens.
    """

    operation: Operation
    action: str | None
    path: str
    body: Mapping[str, object]
    window: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """A request in terms of the provider's table.

    `prompt` ends with the Midjourney parameters that have no field; `fields` go into the body under these names;
    `placed` are options that the provider's own code places.
    """

    prompt: str
    fields: Mapping[str, object]
    placed: Mapping[str, object]
