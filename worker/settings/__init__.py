"""All settings, read from the environment and validated once."""

from worker.settings.broker_url import CeleryBroker, celery_broker, open_redis, read_broker_url, redis_client
from worker.settings.env_file import (
    ENV_FILE_NAME,
    ENV_FILE_READ,
    env_file_warnings,
    env_line,
    read_env_file,
    use_env_file,
)
from worker.settings.least_secrets import api_environment, receiver_environment
from worker.settings.listening import api_address, receiver_address, url_of
from worker.settings.names import misspelt_settings
from worker.settings.rates import read_rate
from worker.settings.settings import Settings, load_settings, provider_prefixes, settings_with

__all__ = [
    "ENV_FILE_NAME",
    "ENV_FILE_READ",
    "CeleryBroker",
    "Settings",
    "api_address",
    "api_environment",
    "celery_broker",
    "env_file_warnings",
    "env_line",
    "load_settings",
    "misspelt_settings",
    "open_redis",
    "provider_prefixes",
    "read_broker_url",
    "read_env_file",
    "read_rate",
    "receiver_address",
    "receiver_environment",
    "redis_client",
    "settings_with",
    "url_of",
    "use_env_file",
]
