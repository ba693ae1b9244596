"""Generations as the API gives them."""

from typing import Annotated, Any

from pydantic import Field

from webhook.api.models.base import Document
from worker.generation import State


class GenerationDocument(Document):
    """One generation."""

    id: Annotated[str, Field(examples=["gen_01a22359182c000000000f2b6c1e4a77"])]
    state: State
    prompt: str
    options: dict[str, Any]
