"""What the API takes and gives, as models: requests are validated by them, documents are described by them."""

from webhook.api.models.base import Document, Page, RequestModel
from webhook.api.models.generations import GenerationDocument
from webhook.api.models.problem import Problem
from webhook.api.models.providers import ProviderDocument, ProviderList
from webhook.api.models.spend import SpendDocument, SpendQuery
from webhook.api.models.uploads import UploadDocument

__all__ = [
    "Document",
    "GenerationDocument",
    "Page",
    "Problem",
    "ProviderDocument",
    "ProviderList",
    "RequestModel",
    "SpendDocument",
    "SpendQuery",
    "UploadDocument",
]
