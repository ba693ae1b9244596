"""Generations and assets as JSON: each field is defined once, and each document lists its fields.

Sidecars and manifests stay in the bucket forever; the command line and the API use the same fields.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

from worker.generation import Asset, Generation, Lineage, State, iso
from worker.secrets import links_hidden, secrets_hidden, shorten_files, signatures_cut


def _accepted(asset: Asset) -> dict[str, Any] | None:
    one = asset.accepted
    return None if one is None else {"by": one.by, "at": iso(one.at), "refused": secrets_hidden(one.why)}


def _unsigned(url: str) -> str | None:
    """Return a web link without user, query and fragment, which may contain secrets; None for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"}:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_GENERATION: Mapping[str, Callable[[Generation], Any]] = {
    **{name: attrgetter(name) for name in ("id", "state", "provider", "operation", "action", "key", "task_id")},
    **{name: attrgetter(name) for name in ("depth", "follow_up", "priority", "progress", "actions")},
    "providers": lambda one: list(one.providers) if one.tries == 0 and one.state is State.QUEUED else [],
    "provider_changes": lambda one: [secrets_hidden(asdict(change)) for change in one.provider_changes],
    "parent": attrgetter("parent_id"),
    "recipe": attrgetter("recipe_name"),
    "step": attrgetter("step"),
    "test": attrgetter("is_test"),
    "batch_id": attrgetter("batch_id"),
    "reason": lambda one: secrets_hidden(one.reason),
    "message": lambda one: secrets_hidden(one.message),
    "created_at": lambda one: iso(one.created_at),
    "updated_at": lambda one: iso(one.updated_at),
    "submitted_at": lambda one: iso(one.submitted_at),
    "finished_at": lambda one: iso(one.finished_at),
}
_ASSET: Mapping[str, Callable[[Asset], Any]] = {
    **{name: attrgetter(name) for name in ("index", "kind", "state", "object_key", "sha256", "bytes", "content_type")},
    **{name: attrgetter(name) for name in ("width", "height", "seconds", "reason", "verified", "remark")},
    "content": lambda one: links_hidden(one.content),
    "error": lambda one: secrets_hidden(one.error),
    "source": lambda one: _unsigned(one.url),
    "source_sha256": lambda one: one.source_sha256 or one.sha256,
    "accepted": _accepted,
}


@dataclass(frozen=True, slots=True)
class Wording:
    """How a document shows user text, which may contain secret links and whole files."""

    prompt: Callable[[Any], Any]
    options: Callable[[Any], Any]


#: for display: secrets are redacted
SHOWN = Wording(links_hidden, links_hidden)
#: for storage: signed links lose their query
KEPT = Wording(signatures_cut, lambda options: signatures_cut(shorten_files(options)))


def of_generation(generation: Generation, lineage: Lineage, fields: Sequence[str], wording: Wording) -> dict[str, Any]:
    """Return these fields, in this order. Raises KeyError for an unknown field."""
    fixed = {
        "prompt": wording.prompt(generation.prompt),
        "options": wording.options(generation.options),
        "root_key": lineage.root_key,
        "batch": lineage.batch,
    }
    return {name: fixed[name] if name in fixed else _GENERATION[name](generation) for name in fields}


def of_asset(asset: Asset, fields: Sequence[str]) -> dict[str, Any]:
    """Return these fields, in this order. Never the link: it is a secret while it works, and useless afterwards."""
    return {name: _ASSET[name](asset) for name in fields}
