"""Uploaded images, as JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.usecases.uploads import Uploaded


def of_uploaded(one: "Uploaded") -> dict[str, Any]:
    return {
        "id": f"upl_{one.file.sha256}",
        "reference": one.reference,
        "sha256": one.file.sha256,
        "bytes": one.file.bytes,
        "content_type": one.file.content_type,
        "providers": list(one.providers),
    }
