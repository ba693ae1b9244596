"""What is written beside the objects: all that a person or a program without our ledger needs to know about them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from worker.archive.documents import KEPT, of_asset, of_generation
from worker.generation import Asset, Generation

#: of `sidecar.schema.json` beside this file; each change of it gets a new number
SCHEMA = 4
#: of `manifest.schema.json`
MANIFEST_SCHEMA = 2

_LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}


_GENERATION = (
    *("id", "key", "parent", "provider", "task_id", "operation", "action", "prompt", "created_at"),
    "finished_at",
)
_SIDECAR = (*_GENERATION, "batch", "depth", "options", "priority", "submitted_at")
_MANIFEST = (*_GENERATION, "state", "reason", "message")
_ASSET = ("index", "kind", "object_key", "sha256", "bytes", "content_type", "width", "height", "seconds")
_SIDECAR_ASSET = (*_ASSET, "source", "source_sha256", "verified", "remark", "accepted")
_MANIFEST_ASSET = (*_ASSET, "error")


def sidecar(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """The description of one generation whose assets are all stored, as `sidecar.schema.json` says.

    The same facts always give the same bytes. Links that are signed lose their query, also in prompt and options.
    """
    return _json(_document(SCHEMA, generation, _SIDECAR, assets, _SIDECAR_ASSET), indent=2)


def manifest_line(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """One line of a batch's manifest, as `manifest.schema.json` says: also for what failed or was cancelled."""
    text = _json(_document(MANIFEST_SCHEMA, generation, _MANIFEST, assets, _MANIFEST_ASSET)).decode()
    # JSON allows them in texts, but many programs take them for the end of a line.
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
    # A lone surrogate has no UTF-8 form, but its backslash escape is JSON.
    return f"{text}\n".encode(errors="backslashreplace")
