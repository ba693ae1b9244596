"""Who is told of events, and how."""

from worker.subscribers.posting import Line, Refusal
from worker.subscribers.standard_webhooks import FORM, WebhookSigner
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
    "webhooks",
]
