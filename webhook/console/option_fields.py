"""The fields of the page Submit that depend on what a provider can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.usecases.entry import FIRST
from tasks.usecases.inputs import image_options
from tasks.usecases.providers import Capability, ProviderFacts
from webhook.console.drafts import Draft
from worker.generation import Operation

#: the options that most people set, in this order
_FIRST = ("aspect_ratio", "version", "speed", "quality", "stylize", "chaos")
_TRUTHS = (("true", "On"), ("false", "Off"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One option. `choices`: value and text of each, empty for free text; `hint`: what is allowed.

    `least`, `most`: the limits of a whole number.
    """

    name: str
    value: str
    hint: str
    is_first: bool
    choices: Sequence[tuple[str, str]] = ()
    least: int | None = None
    most: int | None = None
    suggestions: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureField:
    """An option whose values are images: links, and references to stored ones. `most`: how many it takes."""

    name: str
    values: Sequence[str]
    hint: str
    most: int
    is_needed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFields:
    """`left`: options that were set but have no field here, as `name: value`."""

    fields: Sequence[Field]
    pictures: Sequence[PictureField]
    left: Sequence[str]
    has_prompt: bool


def option_fields(providers: Sequence[ProviderFacts], draft: Draft, operation: Operation | None) -> OptionFields:
    """Return the options of these providers for this operation; for a shared option, the first provider decides."""
    able = [one for one in providers if one.name in names_of(draft) and operation in one.capabilities]
    known: dict[str, tuple[ProviderFacts, Capability]] = {}
    for facts in able:
        capability = _of(facts, operation)
        for name in capability.options:
            known.setdefault(name, (facts, capability))
    images = image_options()
    # A follow-up of one of our images starts from that image.
    asked = [name for name in known if name in images and not (draft.follows and name == "images")]
    fields = [_field(name, *known[name], draft) for name in known if name not in images]
    return OptionFields(
        fields=sorted(fields, key=lambda one: _FIRST.index(one.name) if one.is_first else len(_FIRST)),
        pictures=[_pictures(name, known[name][1], draft) for name in asked],
        left=[f"{name}: {' '.join(values)}" for name, values in draft.options.items() if name not in known],
        has_prompt=not able or any(_of(one, operation).prompt != "unused" for one in able),
    )


def _of(facts: ProviderFacts, operation: Operation | None) -> Capability:
    return next(capability for one, capability in facts.capabilities.items() if one is operation)


def names_of(draft: Draft) -> list[str]:
    return [one.strip() for one in draft.provider.split(",")]


def operations_of(providers: Sequence[ProviderFacts], draft: Draft) -> list[Operation]:
    """Return the operations of these providers that need no earlier generation."""
    chosen = [one for one in providers if one.name in names_of(draft)]
    return [one for one in FIRST if any(one in facts.capabilities for facts in chosen)]


def _field(name: str, facts: ProviderFacts, capability: Capability, draft: Draft) -> Field:
    option = capability.options[name]
    schema: Mapping[str, object] = option.schema
    value = next(iter(draft.options.get(name, ())), "")
    choices: Sequence[tuple[str, str]] = ()
    words = schema.get("enum")
    if schema.get("type") == "boolean":
        choices = _TRUTHS
    elif isinstance(words, list) and len(words) <= 12:
        choices = [(str(one), str(one)) for one in words]
    # A value that only another provider would take stays, and is reported as a mistake.
    if choices and value and value not in {one for one, _ in choices}:
        choices = [*choices, (value, value)]
    least, most = schema.get("minimum"), schema.get("maximum")
    return Field(
        name=name,
        value=value,
        hint=option.allowed,
        is_first=name in _FIRST,
        choices=choices,
        least=least if isinstance(least, int) else None,
        most=most if isinstance(most, int) else None,
        suggestions=list(facts.versions) if name == "version" else (),
    )


def _pictures(name: str, capability: Capability, draft: Draft) -> PictureField:
    option = capability.options[name]
    most = option.schema.get("maxItems", 1)
    return PictureField(
        name=name,
        values=draft.options.get(name, ()),
        hint=option.allowed,
        most=most if isinstance(most, int) else 1,
        is_needed=name in capability.needs,
    )
