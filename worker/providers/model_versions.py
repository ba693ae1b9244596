"""What the versions of Midjourney refuse, and the one place where a request is held against it.

AceDataCloud/MidjourneyMCP (prompts/__init__.py, tools/imagine_tools.py and core/types.py of 2026-08-18): V8.1 refuses
turbo and quality, V8.2 takes both again; V8 (V8.0 Alpha) knows no `--iw`. What a version refuses may be told only after
it was accepted and paid for, so it is refused before it is sent. A version that is not listed is let through.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from worker.errors import RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.prompt_flags import flags_of
from worker.providers.options import listed
from worker.surcharges import TEXTS, read_version

if TYPE_CHECKING:
    from worker.providers import Provider

#: version, newest first → the options that it refuses, a value of one (`speed=turbo`), or a parameter without an option
Versions = Mapping[str, frozenset[str]]
MIDJOURNEY: Versions = {
    "8.2": frozenset(),
    "8.1": frozenset({"quality", "speed=turbo"}),
    "8": frozenset({"--iw"}),
    **dict.fromkeys(("7", "6.1", "6", "5.2"), frozenset()),
}


def refuse_by_version(provider: "Provider", request: GenerationRequest) -> None:
    """Raises RequestInvalid, which names the versions and providers that can, for what its version refuses."""
    # A follow-up carries the prompt of its parent, which was drawn already.
    if request.action is not None or request.operation in TEXTS or (version := read_version(request)) is None:
        return
    refused = provider.versions.get(version, frozenset())
    said_in = "prompt" if request.options.get("version") is None else "version"
    for asked, asked_in in _asked(request):
        if asked in refused:
            who = _who_can(provider, request.operation, version, asked)
            sentence = f"version {version} takes no {asked} at {provider.title}{who}"
            raise RequestInvalid(sentence, about=(said_in, asked_in))


def _asked(request: GenerationRequest) -> Iterator[tuple[str, str]]:
    """What a version may refuse, and the option that says it, or the prompt."""
    for name, value in request.options.items():
        yield from ((name, name), (f"{name}={value}".lower(), name))
    for name, _ in flags_of(request.prompt):
        yield from ((one, "prompt") for one in (f"--{name}", f"speed={name}", name))


def _who_can(provider: "Provider", operation: Operation, version: str, asked: str) -> str:
    """The end of a sentence; empty if nobody can."""
    # Imported only to explain a refusal: one provider's modules never burden another.
    from worker.providers import PROVIDERS, provider_class  # noqa: PLC0415

    versions = tuple(one for one, refused in provider.versions.items() if asked not in refused)
    can = [f"version {listed(versions)}"] if versions else []
    for name in PROVIDERS:
        kind = provider_class(name)
        takes = operation in kind.capabilities and asked.partition("=")[0] in kind.capabilities[operation].options
        if version in kind.versions and asked not in kind.versions[version] and (takes or asked.startswith("--")):
            can.append(f"{kind.title} (--provider {name})")
    return f"; {listed(tuple(can), 'and')} can" if can else ""
