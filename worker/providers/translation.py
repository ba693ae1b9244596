"""Checks a request against a provider's capabilities and translates it."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.pricing import TEXTS, read_version
from worker.prompt_flags import flags_in, flags_of
from worker.providers.base import Provider
from worker.providers.capability import Capability, Prompt, Terms
from worker.providers.options import Option, listed
from worker.providers.registry import PROVIDERS, provider_class

_UNREADABLE = (KeyError, TypeError, ValueError, OverflowError)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
#: operations that generate from their own prompt; a follow-up carries its parent's, which was already used
_DRAWN = frozenset({Operation.IMAGINE, Operation.BLEND, Operation.EDIT, Operation.VIDEO})


def terms_of(provider: Provider, request: GenerationRequest) -> Terms:
    """Check a request against the provider's table. Raises RequestInvalid, naming a provider that supports it."""
    operation = request.operation
    capability = _capability(provider, operation, request.action)
    words = "" if capability.prompt is Prompt.UNUSED else request.prompt.strip()
    if capability.prompt is Prompt.REQUIRED and not words:
        raise RequestInvalid(f"the prompt is empty: {operation} needs one", about=("prompt",))
    if "\x00" in words or _LONE_SURROGATE.search(words):
        what = "a NUL or half a character, which no provider accepts: copy it again"
        raise RequestInvalid(f"the prompt contains {what}", about=("prompt",))
    _refuse_by_version(provider, request)
    _hold_flags(provider, capability, request, words)
    fields: dict[str, object] = {}
    placed: dict[str, object] = {}
    leads: list[str] = []
    flags = []
    for name, given in request.options.items():
        option = _option(provider, capability, operation, name)
        value = _read(provider, operation, name, option, given)
        if option.flag:
            flags += _written(option.flag, value)
        elif option.leads:
            leads += _words(value)
        elif option.field:
            fields[option.field] = value
        else:
            placed[name] = value
    _refuse_missing(provider, operation, capability.needs - request.options.keys())
    prompt = " ".join(part for part in (*leads, words, *flags) if part)
    if (length := len(prompt)) > provider.prompt_limit:
        who = _who_can(lambda other: operation in other.capabilities and length <= other.prompt_limit)
        limit = provider.prompt_limit
        what = f"{length} characters, but {provider.title} accepts at most {limit}{who}"
        raise RequestInvalid(f"the prompt has {what}", about=("prompt",))
    return Terms(prompt, fields, placed)


def check_follow_up(provider: Provider, operation: Operation, action: str | None) -> None:
    """Raise RequestInvalid unless a success can have this follow-up; without `action`: any of this operation's."""
    if operation is Operation.SPLIT:
        if not provider.delivers_grids:
            raise RequestInvalid(f"{provider.title} delivers the four images one by one: there is no grid to split")
        return
    possible = provider.capabilities[operation].actions if operation in provider.capabilities else ()
    capability = _capability(provider, operation, action or next(iter(possible), None))
    # The follow-up is created without options.
    _refuse_missing(provider, operation, capability.needs)


def _capability(provider: Provider, operation: Operation, action: str | None) -> Capability:
    title = provider.title
    capability = provider.capabilities.get(operation)
    if capability is None:
        possible = _listed(provider.capabilities)
        who = _who_can(lambda other: operation in other.capabilities)
        what = f"{title} does not support {operation}, only {possible}{who or '; no provider supports it'}"
        raise RequestInvalid(what, about=("operation",))
    if action in (capability.actions or (None,)):
        return capability
    # Suggest no other provider: the parent is at this one.
    if action is None:
        what = f"{operation} is a follow-up: it needs a parent and its action, {listed(capability.actions)}"
        raise RequestInvalid(what, about=("operation",))
    actions = f"it has {listed(capability.actions)}" if capability.actions else f"{operation} needs no parent"
    raise RequestInvalid(f"{operation} has no action {_shown(action)} at {title}; {actions}")


def _refuse_missing(provider: Provider, operation: Operation, missing: Collection[str]) -> None:
    if missing:
        needed = " and ".join(sorted(missing))
        what = f"{operation} at {provider.title} needs the option {needed}"
        raise RequestInvalid(what, about=("operation", "options", *missing))


def _option(provider: Provider, capability: Capability, operation: Operation, name: str) -> Option:
    if name in capability.options:
        return capability.options[name]
    there = _listed(capability.options) if capability.options else "none"
    who = _who_can(lambda other: name in _options(other, operation)) or "; no provider supports it"
    what = f"{provider.title} has no option {_shown(name)} for {operation}; it has {there}{who}"
    raise RequestInvalid(what, about=(name,))


def _read(provider: Provider, operation: Operation, name: str, option: Option, given: object) -> object:
    try:
        return option.read(given)
    except _UNREADABLE:
        who = _who_can(lambda other: _takes(_options(other, operation).get(name), given))
        where = f" at {provider.title}" if who else ""
        what = f"option {name}: invalid value {_shown(given)}{where}, expected {option.allowed}{who}"
        raise RequestInvalid(what, about=(name,)) from None


def _takes(option: Option | None, given: object) -> bool:
    try:
        return option is not None and option.read(given) is not None
    except _UNREADABLE:
        return False


def _options(provider: type[Provider], operation: Operation) -> Mapping[str, Option]:
    capability = provider.capabilities.get(operation)
    return capability.options if capability else {}


def _hold_flags(provider: Provider, capability: Capability, request: GenerationRequest, words: str) -> None:
    """Check the prompt's parameters against the table, as the equivalent options, and against the options given."""
    if request.operation not in _DRAWN or request.action is not None:
        return
    for flag in flags_in(words):
        if flag.option in request.options:
            sentence = f"option {flag.option}: the prompt already has --{flag.name}; give only one"
            raise RequestInvalid(sentence, at=flag.at)
        if flag.option is None:
            continue
        try:
            option = _option(provider, capability, request.operation, flag.option)
            if flag.given is not None:
                _read(provider, request.operation, flag.option, option, flag.given)
        except RequestInvalid as error:
            raise RequestInvalid(str(error), at=flag.at) from None


def _written(flag: str, value: object) -> list[str]:
    """Return an option as a parameter for the end of the prompt."""
    if isinstance(value, bool):
        return [flag] if value else []
    return [f"{flag} {' '.join(_words(value))}"]


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _shown(given: object) -> str:
    if isinstance(given, list | dict):
        return f"a list of {len(given)}" if isinstance(given, list) else "a JSON object"
    try:
        return repr(str(given)[:40])
    except ValueError:
        return "a number with too many digits"


def _listed(words: Iterable[str]) -> str:
    return listed(tuple(sorted(words)))


def _who_can(can: Callable[[type[Provider]], bool]) -> str:
    """Return the end of a sentence that names providers; empty if no provider can."""
    titles = [f"{kind.title} (--provider {name})" for name in PROVIDERS if can(kind := provider_class(name))]
    return f"; {listed(tuple(titles), 'and')} can" if titles else ""


def _refuse_by_version(provider: Provider, request: GenerationRequest) -> None:
    """Raise RequestInvalid, naming the versions and providers that can, if its version refuses a part of it."""
    # A follow-up carries its parent's prompt, which was already used.
    if request.action is not None or request.operation in TEXTS or (version := read_version(request)) is None:
        return
    refused = provider.versions.get(version, frozenset())
    said_in = "prompt" if request.options.get("version") is None else "version"
    for asked, asked_in in _asked(request):
        if asked in refused:
            who = _who_takes(provider, request.operation, version, asked)
            sentence = f"version {version} does not support {asked} at {provider.title}{who}"
            raise RequestInvalid(sentence, about=(said_in, asked_in))


def _asked(request: GenerationRequest) -> Iterator[tuple[str, str]]:
    """Yield everything a version may refuse, each with the option that requests it, or "prompt"."""
    for name, value in request.options.items():
        yield from ((name, name), (f"{name}={value}".lower(), name))
    for name, _ in flags_of(request.prompt):
        yield from ((one, "prompt") for one in (f"--{name}", f"speed={name}", name))


def _who_takes(provider: Provider, operation: Operation, version: str, asked: str) -> str:
    """Return the end of a sentence that names versions and providers; empty if none can."""
    versions = tuple(one for one, refused in provider.versions.items() if asked not in refused)
    can = [f"version {listed(versions)}"] if versions else []
    for name in PROVIDERS:
        kind = provider_class(name)
        takes = operation in kind.capabilities and asked.partition("=")[0] in kind.capabilities[operation].options
        if version in kind.versions and asked not in kind.versions[version] and (takes or asked.startswith("--")):
            can.append(f"{kind.title} (--provider {name})")
    return f"; {listed(tuple(can), 'and')} can" if can else ""
