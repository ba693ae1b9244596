"""Sidecars and manifests: all that people and programs without our ledger need to know about the objects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.archive.documents import KEPT, of_asset, of_generation
from worker.generation import Asset, Generation

#: the version of `sidecar.schema.json`; each change of the schema gets a new number
SCHEMA = 3
#: the version of `manifest.schema.json`
MANIFEST_SCHEMA = 1

_LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}


_GENERATION = (
    *("id", "custom_key", "parent", "provider", "task_id", "operation", "action", "prompt", "created_at"),
    "finished_at",
)
_SIDECAR = (*_GENERATION, "batch", "depth", "options", "priority", "submitted_at")
_MANIFEST = (*_GENERATION, "state", "reason", "message")
_ASSET = ("index", "kind", "key", "sha256", "bytes", "content_type", "width", "height", "seconds")
_SIDECAR_ASSET = (*_ASSET, "source", "source_sha256", "verified", "remark", "accepted")
_MANIFEST_ASSET = (*_ASSET, "error")


def sidecar(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """Return the sidecar of a generation with all assets stored, as `sidecar.schema.json` defines it.

    The same facts always give the same bytes. Signed links lose their query, also in prompt and options.
    """
    return _json(_document(SCHEMA, generation, _SIDECAR, assets, _SIDECAR_ASSET), indent=2)


def manifest_line(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """Return one line of a batch's manifest, as `manifest.schema.json` defines it, for failed generations too."""
    text = _json(_document(MANIFEST_SCHEMA, generation, _MANIFEST, assets, _MANIFEST_ASSET)).decode()
    # Valid in JSON strings, but many programs treat them as line ends.
    return text.translate(_LINE_ENDS).encode()


def _document(
    schema: int, generation: Generation, fields: Sequence[str], assets: Sequence[Asset], of_assets: Sequence[str]
) -> dict[str, Any]:
    return {
        "schema": schema,
        **of_generation(generation, fields, KEPT),
        "assets": [of_asset(asset, of_assets) for asset in sorted(assets, key=lambda asset: asset.index)],
    }


def _json(document: Mapping[str, Any], indent: int | None = None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=indent, sort_keys=True)
    # A lone surrogate cannot be UTF-8, but its escape is valid JSON.
    return f"{text}\n".encode(errors="backslashreplace")
