"""Subscribers to events, and the delivery of events to them."""

from worker.subscribers.posting import Line, Refusal, Reply
from worker.subscribers.slack import slack_message
from worker.subscribers.standard_webhooks import FORM, WebhookSigner, signed_request
from worker.subscribers.subscribers import (
    CeleryTask,
    Format,
    RedisStream,
    Subscriber,
    Webhook,
    celery_tasks,
    is_wanted,
    patterns,
    redis_stream,
    shown_address,
    webhooks,
    without_address,
)

__all__ = [
    "FORM",
    "CeleryTask",
    "Format",
    "Line",
    "RedisStream",
    "Refusal",
    "Reply",
    "Subscriber",
    "Webhook",
    "WebhookSigner",
    "celery_tasks",
    "is_wanted",
    "patterns",
    "redis_stream",
    "shown_address",
    "signed_request",
    "slack_message",
    "webhooks",
    "without_address",
]
