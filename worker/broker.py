"""The broker without Celery, which takes 8 MB more that a process which only sends wake-ups never needs."""

from functools import cache
from typing import Any

from worker.settings import load_settings, open_redis

#: longer than any of our commands takes on a busy broker
_SECONDS = 5


@cache
def broker() -> Any:
    """Return this process's client, kept open; its methods raise RedisError or OSError. Raises ConfigurationError."""
    return open_redis(load_settings().redis_url, _SECONDS)
