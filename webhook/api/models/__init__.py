"""What the API takes and gives, as models: requests are validated by them, documents are described by them."""

from webhook.api.models.base import Document, Page, RequestModel
from webhook.api.models.events import EventsDocument, EventsQuery
from webhook.api.models.generations import GenerationDocument

__all__ = ["Document", "EventsDocument", "EventsQuery", "GenerationDocument", "Page", "RequestModel"]
