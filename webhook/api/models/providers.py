"""Providers in answers of the API."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tasks.usecases.providers import AccountStatus
from webhook.api.models.base import Document


class AccountDocument(Document):
    """One account of a provider."""

    account: str
    status: AccountStatus
    rate: Annotated[float, Field(description="New submissions per second at present; 0: none.")]
    since: datetime | None
    until: Annotated[datetime | None, Field(description="When the account is tried again.")]
    reason: str | None


class ProviderDocument(Document):
    """One provider on this installation."""

    name: str
    title: str
    configured: bool
    missing: Annotated[str | None, Field(description="The setting that is still missing.")]
    operations: list[str]
    options: list[str]
    own_options: Annotated[list[str], Field(description="Options that no other provider has.")]
    by_operation: Annotated[
        dict[str, dict[str, str]], Field(description="operation → option → the values that it takes, in words.")
    ]
    schemas: Annotated[
        dict[str, dict[str, dict[str, Any]]],
        Field(description="operation → option → the JSON Schema of its values; a string in that form is accepted too."),
    ]
    needs: Annotated[dict[str, list[str]], Field(description="operation → options that it requires.")]
    versions: Annotated[
        dict[str, list[str]],
        Field(description="known version → options that it refuses; other versions are not checked."),
    ]
    prompt: Annotated[dict[str, str], Field(description="operation → required, optional or unused.")]
    actions: Annotated[dict[str, list[str]], Field(description="operation → the actions that belong to it.")]
    callback: Annotated[str, Field(description="signed, unsigned or none.")]
    retention_days: Annotated[float, Field(description="Days for which its links work.")]
    prompt_limit: Annotated[int, Field(description="The most characters in a prompt.")]
    input_limit: Annotated[int | None, Field(description="The most bytes of an uploaded image; null: not documented.")]
    rate: Annotated[float, Field(description="New submissions per second, for each account.")]
    in_flight: Annotated[int, Field(description="Generations at the provider at once, for each account.")]
    accounts: list[AccountDocument] | None


class ProviderList(Document):
    """All providers."""

    data: list[ProviderDocument]
    next: None
