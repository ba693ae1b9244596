"""What a provider can express: a table per operation, and the one place where a request is held against it."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.prompt_flags import flags_in
from worker.providers.model_versions import refuse_by_version
from worker.providers.options import Option, listed

if TYPE_CHECKING:
    from worker.providers import Provider

_UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
#: what is drawn from its prompt; a follow-up carries that of its parent, which was drawn already
_DRAWN = frozenset({Operation.IMAGINE, Operation.BLEND, Operation.EDIT, Operation.VIDEO})


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


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """What one POST sends, all but the mark: what `Provider.translate` gives to `Provider.submit`.

    `window`: what is filled in where the reply opens one of Discord's dialogs.
    """

    operation: Operation
    action: str | None
    path: str
    body: Mapping[str, Any]
    window: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """A request in the terms of the provider's table.

    `prompt` ends with the Midjourney parameters that have no field of their own; `fields` stand in the body under these
    names; `placed` are options that the provider's own code puts somewhere.
    """

    prompt: str
    fields: Mapping[str, Any]
    placed: Mapping[str, Any]


def terms_of(provider: "Provider", request: GenerationRequest) -> Terms:
    """Hold a request against the provider's table; raises RequestInvalid, which names another provider that can."""
    operation = request.operation
    capability = _capability(provider, operation, request.action)
    words = "" if capability.prompt is Prompt.UNUSED else request.prompt.strip()
    if capability.prompt is Prompt.REQUIRED and not words:
        raise RequestInvalid(f"the prompt is empty: {operation} needs one", about=("prompt",))
    if "\x00" in words or _LONE_SURROGATE.search(words):
        what = "a NUL or half a character, which no provider takes: copy it again"
        raise RequestInvalid(f"the prompt holds {what}", about=("prompt",))
    refuse_by_version(provider, request)
    _hold_flags(provider, capability, request, words)
    fields: dict[str, Any] = {}
    placed: dict[str, Any] = {}
    leads: list[str] = []
    flags = []
    for name, given in request.options.items():
        option = _option(provider, capability, operation, name)
        value = _read(provider, operation, name, option, given)
        if option.flag:
            flags += _written(option.flag, value)
        elif option.leads:
            leads += value
        elif option.field:
            fields[option.field] = value
        else:
            placed[name] = value
    _refuse_missing(provider, operation, capability.needs - request.options.keys())
    prompt = " ".join(part for part in (*leads, words, *flags) if part)
    if (length := len(prompt)) > provider.prompt_limit:
        who = _who_can(lambda other: operation in other.capabilities and length <= other.prompt_limit)
        limit = provider.prompt_limit
        what = f"{length} characters, {provider.title} takes at most {limit}{who}"
        raise RequestInvalid(f"the prompt has {what}", about=("prompt",))
    return Terms(prompt, fields, placed)


def check_follow_up(provider: "Provider", operation: Operation, action: str | None) -> None:
    """Raise RequestInvalid unless a success can be followed up so; without an `action`: by any of this operation."""
    possible = provider.capabilities[operation].actions if operation in provider.capabilities else ()
    capability = _capability(provider, operation, action or next(iter(possible), None))
    # It is created without options of its own.
    _refuse_missing(provider, operation, capability.needs)


def _capability(provider: "Provider", operation: Operation, action: str | None) -> Capability:
    title = provider.title
    capability = provider.capabilities.get(operation)
    if capability is None:
        possible = _listed(provider.capabilities)
        who = _who_can(lambda other: operation in other.capabilities)
        what = f"{title} cannot do {operation}, only {possible}{who or '; no provider can'}"
        raise RequestInvalid(what, about=("operation",))
    if action in (capability.actions or (None,)):
        return capability
    # No other provider is named: the parent lies at this one.
    if action is None:
        what = f"{operation} is a follow-up: it needs a parent and its action, {listed(capability.actions)}"
        raise RequestInvalid(what, about=("operation",))
    actions = f"there is {listed(capability.actions)}" if capability.actions else f"{operation} begins anew"
    raise RequestInvalid(f"{operation} has no action {_shown(action)} at {title}; {actions}")


def _refuse_missing(provider: "Provider", operation: Operation, missing: Collection[str]) -> None:
    if missing:
        needed = " and ".join(sorted(missing))
        raise RequestInvalid(f"{operation} at {provider.title} needs the option {needed}")


def _option(provider: "Provider", capability: Capability, operation: Operation, name: str) -> Option:
    if name in capability.options:
        return capability.options[name]
    there = _listed(capability.options) if capability.options else "none"
    who = _who_can(lambda other: name in _options(other, operation)) or "; no provider can"
    what = f"{provider.title} has no option {_shown(name)} for {operation}; there is {there}{who}"
    raise RequestInvalid(what, about=(name,))


def _read(provider: "Provider", operation: Operation, name: str, option: Option, given: Any) -> Any:
    try:
        return option.read(given)
    except _UNREADABLE:
        who = _who_can(lambda other: _takes(_options(other, operation).get(name), given))
        where = f" at {provider.title}" if who else ""
        what = f"option {name}: {_shown(given)} is not possible{where}, give {option.allowed}{who}"
        raise RequestInvalid(what, about=(name,)) from None


def _takes(option: Option | None, given: Any) -> bool:
    try:
        return option is not None and option.read(given) is not None
    except _UNREADABLE:
        return False


def _options(provider: "type[Provider]", operation: Operation) -> Mapping[str, Option]:
    capability = provider.capabilities.get(operation)
    return capability.options if capability else {}


def _hold_flags(provider: "Provider", capability: Capability, request: GenerationRequest, words: str) -> None:
    """Parameters in the prompt are held against the table as the options that say the same, and against those."""
    if request.operation not in _DRAWN or request.action is not None:
        return
    for flag in flags_in(words):
        if flag.option in request.options:
            sentence = f"option {flag.option}: the prompt says --{flag.name} already; say it once"
            raise RequestInvalid(sentence, at=flag.at)
        if flag.option is None:
            continue
        try:
            option = _option(provider, capability, request.operation, flag.option)
            if flag.given is not None:
                _read(provider, request.operation, flag.option, option, flag.given)
        except RequestInvalid as error:
            raise RequestInvalid(str(error), at=flag.at) from None


def _written(flag: str, value: Any) -> list[str]:
    """An option as a parameter at the end of the prompt."""
    if isinstance(value, bool):
        return [flag] if value else []
    return [f"{flag} {' '.join(value) if isinstance(value, list) else value}"]


def _shown(given: Any) -> str:
    if isinstance(given, list | dict):
        return f"a list of {len(given)}" if isinstance(given, list) else "a JSON object"
    try:
        return repr(str(given)[:40])
    except ValueError:
        return "a number of so many digits"


def _listed(words: Iterable[str]) -> str:
    return listed(tuple(sorted(words)))


def _who_can(can: Callable[["type[Provider]"], bool]) -> str:
    """The end of a sentence; empty if no provider can."""
    # Imported only to explain a refusal: one provider's modules never burden another.
    from worker.providers import PROVIDERS, provider_class  # noqa: PLC0415

    titles = [f"{kind.title} (--provider {name})" for name in PROVIDERS if can(kind := provider_class(name))]
    return f"; {listed(tuple(titles), 'and')} can" if titles else ""
