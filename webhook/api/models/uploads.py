"""Uploads in answers of the API."""

from typing import Annotated

from pydantic import Field

from webhook.api.models.base import Document


class UploadDocument(Document):
    """An uploaded image."""

    id: str
    reference: Annotated[
        str,
        Field(
            description="Refers to the image in options such as `images`.",
            examples=["input:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.png"],
        ),
    ]
    sha256: str
    bytes: int
    content_type: str
    providers: Annotated[list[str], Field(description="Providers that accept an image of this size.")]
