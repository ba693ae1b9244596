"""Approvals in requests and answers of the API."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.usecases.approvals import ApprovalState
from webhook.api.models.base import Document, Page, RequestModel


class ApprovalsQuery(Page):
    """Which page."""

    ids = "apr"


class Decision(RequestModel):
    """Which images to continue with, or that none is good enough: one of `pick` and `reject`."""

    pick: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=1000)]] | None,
        Field(min_length=1, max_length=1000, description="Numbers of images, from 1.", examples=[[2, 4]]),
    ] = None
    reject: Annotated[Literal[True] | None, Field(description="Reject all images: nothing follows.")] = None
    why: Annotated[str, Field(max_length=2000, description="Recorded with the name of the token.")] = ""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.pick is None) == (self.reject is None):
            raise ValueError('give either "pick", such as {"pick": [2, 4]}, or {"reject": true}')
        return self


class ApprovalDocument(Document):
    """A decision that a step of a recipe waits for."""

    id: Annotated[str, Field(examples=["apr_01a22359182c000000000f2b6c1e4a77"])]
    generation: Annotated[str, Field(description="Id of the generation that made the images.")]
    step: Annotated[str, Field(description="The step of the recipe that waits.", examples=["best"])]
    state: ApprovalState
    task: Annotated[str | None, Field(description="The Celery task that decides; null: a person.")]
    images: Annotated[list[int], Field(description="The image numbers to choose from.", examples=[[1, 2, 3, 4]])]
    picked: Annotated[list[int] | None, Field(description="Null until it is decided.")]
    asked_at: str
    expires_at: Annotated[str, Field(description="When the step's `otherwise` applies.")]
    decided_at: str | None
    decided_by: str | None
    why: str | None


class ApprovalWithGeneration(ApprovalDocument):
    """An approval, with what identifies its generation."""

    key: str | None
    prompt: str


class ApprovalPage(Document):
    """One page of approvals."""

    data: list[ApprovalWithGeneration]
    next: str | None


class DecidedApproval(ApprovalDocument):
    """A decision that was carried out."""

    created: Annotated[int, Field(description="How many follow-ups it created.")]
    repeated: Annotated[bool, Field(description="True if the same decision was made before: nothing was changed.")]
