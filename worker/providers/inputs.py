"""References to input files in a request's options: `input:` and the SHA-256, with the extension."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from worker.generation import GenerationRequest
from worker.providers.base import Provider
from worker.providers.options import REFERENCE


def input_reference(sha256: str, extension: str) -> str:
    """Return the option value that refers to an input file."""
    return f"input:{sha256}.{extension}"


def inputs_of(options: Mapping[str, object]) -> tuple[str, ...]:
    """Return the SHA-256 of each file that the options refer to, without duplicates."""
    lists = (value.split() if isinstance(value, str) else value for value in options.values())
    found = (_sha256_of(item) for items in lists if isinstance(items, list) for item in items)
    return tuple(sorted({sha256 for sha256 in found if sha256}))


def with_inputs(
    provider: Provider,
    request: GenerationRequest,
    *,
    as_file: Callable[[str], str],
    as_link: Callable[[str], str],
) -> GenerationRequest:
    """Replace each reference with the file (a `data:` link), or with a web link if the option accepts only those.

    Both functions take a SHA-256.
    """
    known = provider.capabilities[request.operation].options

    def replaced(name: str, item: object) -> object:
        sha256 = _sha256_of(item)
        if sha256 is None:
            return item
        return as_file(sha256) if known[name].takes_files else as_link(sha256)

    options = {
        name: [replaced(name, item) for item in value] if isinstance(value, list) else replaced(name, value)
        for name, value in request.options.items()
    }
    return replace(request, options=options)


def takes_only_links(provider: Provider, request: GenerationRequest) -> bool:
    """Return whether one of the references must become a link that the provider can open."""
    known = provider.capabilities[request.operation].options
    return any(inputs_of({name: value}) and not known[name].takes_files for name, value in request.options.items())


def _sha256_of(item: object) -> str | None:
    found = REFERENCE.fullmatch(item) if isinstance(item, str) else None
    return found[1] if found else None
