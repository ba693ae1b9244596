"""What is written beside the objects: all that a person or a program without our ledger needs to know about them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from worker.generation import Asset, Generation, iso
from worker.secrets import redact, shorten_files, signatures_cut

#: of `sidecar.schema.json` beside this file; each change of it gets a new number
SCHEMA = 3
#: of `manifest.schema.json`
MANIFEST_SCHEMA = 1

_LINE_ENDS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}


def sidecar(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """The description of one generation whose assets are all stored, as `sidecar.schema.json` says.

    The same facts always give the same bytes. Links that are signed lose their query, also in prompt and options.
    """
    document = {
        "schema": SCHEMA,
        "id": generation.id,
        "custom_key": generation.key,
        "batch": generation.batch_id,
        "parent": generation.parent_id,
        "depth": generation.depth,
        "provider": generation.provider,
        "task_id": generation.task_id,
        "operation": generation.operation,
        "action": generation.action,
        "prompt": signatures_cut(generation.prompt),
        "options": signatures_cut(shorten_files(generation.options)),
        "priority": generation.priority,
        "created_at": iso(generation.created_at),
        "submitted_at": iso(generation.submitted_at),
        "finished_at": iso(generation.finished_at),
        "assets": [
            {
                **_facts(asset),
                "source": _unsigned(asset.url),
                "source_sha256": asset.source_sha256 or asset.sha256,
                "verified": asset.verified,
                "remark": asset.remark,
                "accepted": _accepted(asset),
            }
            for asset in sorted(assets, key=lambda asset: asset.index)
        ],
    }
    return _json(document, indent=2)


def manifest_line(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """One line of a batch's manifest, as `manifest.schema.json` says: also for what failed or was cancelled."""
    document = {
        "schema": MANIFEST_SCHEMA,
        "id": generation.id,
        "custom_key": generation.key,
        "state": generation.state,
        "reason": generation.reason,
        "message": generation.message and redact(generation.message),
        "parent": generation.parent_id,
        "provider": generation.provider,
        "task_id": generation.task_id,
        "operation": generation.operation,
        "action": generation.action,
        "prompt": signatures_cut(generation.prompt),
        "created_at": iso(generation.created_at),
        "finished_at": iso(generation.finished_at),
        "assets": [
            {**_facts(asset), "error": asset.error and redact(asset.error)}
            for asset in sorted(assets, key=lambda asset: asset.index)
        ],
    }
    # JSON allows them in texts, but many programs take them for the end of a line.
    return _json(document).decode().translate(_LINE_ENDS).encode()


def _facts(asset: Asset) -> dict[str, Any]:
    return {
        "index": asset.index,
        "kind": asset.kind,
        "key": asset.key,
        "sha256": asset.sha256,
        "bytes": asset.bytes,
        "content_type": asset.content_type,
        "width": asset.width,
        "height": asset.height,
        "seconds": asset.seconds,
    }


def _accepted(asset: Asset) -> dict[str, Any] | None:
    one = asset.accepted
    return None if one is None else {"by": one.by, "at": iso(one.at), "refused": redact(one.why)}


def _json(document: Mapping[str, Any], indent: int | None = None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, indent=indent, sort_keys=True)
    # A lone surrogate has no UTF-8 form, but its backslash escape is JSON.
    return f"{text}\n".encode(errors="backslashreplace")


def _unsigned(url: str) -> str | None:
    """A web link without user, query and fragment, where signatures are; None for what is no web link."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"}:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
