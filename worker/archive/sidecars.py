"""Sidecars and manifests: everything that people and programs without our ledger need to know about the objects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.archive.documents import KEPT, of_asset, of_generation
from worker.generation import Asset, Generation, Lineage

#: version of `sidecar.schema.json` beside this file; every change of the schema increments it
SCHEMA = 5
#: version of `manifest.schema.json`
MANIFEST_SCHEMA = 2

_LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}


_GENERATION = (
    *("id", "key", "parent", "provider", "task_id", "operation", "action", "prompt", "created_at"),
    *("finished_at", "root_key"),
)
_SIDECAR = (*_GENERATION, "recipe", "step", "batch", "batch_id", "depth", "options", "priority", "submitted_at")
_MANIFEST = (*_GENERATION, "state", "reason", "message")
_ASSET = ("index", "kind", "object_key", "sha256", "bytes", "content_type", "width", "height", "seconds")
_SIDECAR_ASSET = (*_ASSET, "source", "source_sha256", "verified", "remark", "accepted")
_MANIFEST_ASSET = (*_ASSET, "error")


def sidecar(generation: Generation, assets: Sequence[Asset], lineage: Lineage) -> bytes:
    """Return the sidecar of a generation whose assets are all stored, as `sidecar.schema.json` defines it.

    The same facts always give the same bytes. Signed links lose their query, in prompt and options too.
    """
    facts = of_generation(generation, lineage, _SIDECAR, KEPT)
    return _json(_document(SCHEMA, facts, assets, _SIDECAR_ASSET), indent=2)


def manifest_line(generation: Generation, assets: Sequence[Asset], lineage: Lineage) -> bytes:
    """Return one line of a batch's manifest, as `manifest.schema.json` defines it, for failed generations too."""
    facts = of_generation(generation, lineage, _MANIFEST, KEPT)
    text = _json(_document(MANIFEST_SCHEMA, facts, assets, _MANIFEST_ASSET)).decode()
    # JSON allows these characters in strings, but many programs treat them as line ends.
    return text.translate(_LINE_ENDS).encode()


def _document(schema: int, facts: dict[str, Any], assets: Sequence[Asset], fields: Sequence[str]) -> dict[str, Any]:
    listed = [of_asset(asset, fields) for asset in sorted(assets, key=lambda asset: asset.index)]
    return {"schema": schema, **facts, "assets": listed}


def _json(document: Mapping[str, Any], indent: int | None = None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=indent, sort_keys=True)
    # A lone surrogate cannot be encoded as UTF-8, but its escape is valid JSON.
    return f"{text}\n".encode(errors="backslashreplace")
