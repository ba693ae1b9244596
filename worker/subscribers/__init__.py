"""Subscribers to events, and delivery of events to them."""

from worker.subscribers.notify_rule import NOTIFY_PREFIX, NotifyAddress, NotifyRule
from worker.subscribers.posting import Line, Refusal, Reply
from worker.subscribers.slack import slack_message
from worker.subscribers.standard_webhooks import FORM, WebhookSigner, signed_request
from worker.subscribers.subscribers import (
    CeleryTask,
    Format,
    NotifyOrigin,
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
    "NOTIFY_PREFIX",
    "CeleryTask",
    "Format",
    "Line",
    "NotifyAddress",
    "NotifyOrigin",
    "NotifyRule",
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
