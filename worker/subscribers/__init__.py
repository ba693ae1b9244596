"""Subscribers to events, and the delivery of events to them."""

from worker.subscribers.posting import Line, Refusal
from worker.subscribers.standard_webhooks import FORM, WebhookSigner, signed_request
from worker.subscribers.subscribers import CeleryTask, Subscriber, Webhook, celery_tasks, is_wanted, patterns, webhooks

__all__ = [
    "FORM",
    "CeleryTask",
    "Line",
    "Refusal",
    "Subscriber",
    "Webhook",
    "WebhookSigner",
    "celery_tasks",
    "is_wanted",
    "patterns",
    "signed_request",
    "webhooks",
]
