"""All settings, read from the environment and checked once."""

from worker.settings.broker_url import CeleryBroker, celery_broker, read_broker_url, redis_client
from worker.settings.least_secrets import receiver_environment
from worker.settings.settings import Settings, load_settings, provider_prefixes

__all__ = [
    "CeleryBroker",
    "Settings",
    "celery_broker",
    "load_settings",
    "provider_prefixes",
    "read_broker_url",
    "receiver_environment",
    "redis_client",
]
