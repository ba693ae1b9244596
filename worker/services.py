"""The services that the steps use, built from the settings on first use, once per process."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from threading import Lock
from urllib.parse import urlsplit

from pydantic import SecretStr

from worker.archive import Archive, Keys, open_archive
from worker.correlation import Signer
from worker.downloads import Downloader
from worker.downloads import Limits as DownloadLimits
from worker.errors import ConfigurationError
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.database import Clock, passwords_in
from worker.ledger.dispatch import Limits
from worker.net import PORTS, proxy_secrets
from worker.pricing import Prices
from worker.providers import PROVIDERS, Provider, account_keys, load_provider, provider_class
from worker.runtime import locked_cached_property
from worker.secrets import SANDBOX_ACCOUNT, SANDBOX_KEY, bucket_credentials, key_mark
from worker.settings import Settings, load_settings, provider_prefixes, read_broker_url

#: the sandbox's limits, for each of its providers
SANDBOX_LIMITS = Limits(rate=20, in_flight=50)


class Services:
    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self._clock = clock
        self._providers: dict[tuple[str, str | None], Provider] = {}
        self._loading = Lock()

    @locked_cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger_url, self._clock)

    @property
    def clock(self) -> Clock:
        """The ledger's clock, for comparisons with its times, and for machines with a wrong clock."""
        return self.ledger.database.clock

    @locked_cached_property
    def prices(self) -> Prices | None:
        return self.settings.read_prices(PROVIDERS)

    @locked_cached_property
    def archive(self) -> Archive:
        if self.settings.s3_bucket is None:
            raise ConfigurationError(
                "S3_BUCKET is not set: name the bucket for the assets, or start `darkroom up`, which includes one"
            )
        keys = Keys(self.settings.s3_prefix, self.settings.s3_key_template)
        return open_archive(self.settings.s3_bucket, keys, self.settings.s3_keeping, self.settings.s3_addressing)

    @locked_cached_property
    def downloader(self) -> Downloader:
        settings = self.settings
        limits = DownloadLimits(read=settings.darkroom_stall_seconds, least=settings.darkroom_least_bytes_per_second)
        return Downloader(settings.darkroom_download_allow, limits, settings.darkroom_user_agent)

    @locked_cached_property
    def sandbox_downloader(self) -> Downloader:
        """The downloader for test results: reaches the sandbox, and no other private address."""
        parts = urlsplit(self.settings.sandbox_url)
        return Downloader(parts.netloc if parts.port else f"{parts.netloc}:{PORTS[parts.scheme]}")

    def downloader_of(self, generation: Generation) -> Downloader:
        return self.sandbox_downloader if generation.is_test else self.downloader

    @locked_cached_property
    def signer(self) -> Signer:
        if self.settings.darkroom_signing_keys is None:
            raise ConfigurationError(
                "DARKROOM_SIGNING_KEYS is not set: it signs callback URLs and the links of approvals; "
                "set it to `k1:` and at least 32 random characters"
            )
        return Signer(self.settings.darkroom_signing_keys.get_secret_value())

    def provider(self, name: str, account: str | None = None) -> Provider:
        """Return the provider with one of its accounts; the first account by default, where the choice is irrelevant.

        Raises ConfigurationError for an unknown provider, or an account without a key.
        """
        if name not in PROVIDERS:
            raise ConfigurationError(f"unknown provider {name!r}; expected one of {', '.join(PROVIDERS)}")
        with self._loading:
            if (name, account) not in self._providers:
                self._providers[name, account] = load_provider(name, self.settings, account)
            return self._providers[name, account]

    def provider_for(self, name: str, *, is_test: bool) -> Provider:
        """Return the provider that checks and makes a new generation; as `provider`, or in the sandbox."""
        return self.provider(name, SANDBOX_ACCOUNT if is_test else None)

    def provider_of(self, generation: Generation) -> Provider:
        """Return the provider with the account to which this generation went; a test's is always the sandbox.

        Raises ConfigurationError as `provider` does.
        """
        return self.provider(generation.provider, SANDBOX_ACCOUNT if generation.is_test else generation.account)

    def result_hosts(self, generation: Generation) -> frozenset[str]:
        """Return the hosts that its results may come from."""
        if generation.is_test:
            return frozenset({str(urlsplit(self.settings.sandbox_url).hostname)})
        return self.provider(generation.provider).result_hosts

    def accounts(self, name: str) -> tuple[str, ...]:
        """Return the names of its accounts: at least one, even without a key, and never the sandbox."""
        return tuple(account_keys(name, self.settings))

    def key_marks(self, name: str) -> Mapping[str, str]:
        """Return marks of the keys and their addresses, by account."""
        address = self.base_url(name)
        keys = account_keys(name, self.settings)
        return {one: key_mark(key.get_secret_value() if key else None, address) for one, key in keys.items()}

    @property
    def sandbox_mark(self) -> str:
        """Return the mark of the sandbox, as `key_marks` does."""
        return key_mark(SANDBOX_KEY, self.settings.darkroom_sandbox_url)

    def base_url(self, name: str) -> str:
        """Return the address of the provider's API."""
        return str(getattr(self.settings, f"{provider_class(name).prefix}_base_url") or "")

    def limits(self, name: str) -> Limits:
        """Return the rate limits of each account of this provider (`<PREFIX>_RATE`, `<PREFIX>_IN_FLIGHT`)."""
        prefix = provider_class(name).prefix
        return Limits(getattr(self.settings, f"{prefix}_rate"), getattr(self.settings, f"{prefix}_in_flight"))

    @property
    def limit_settings(self) -> dict[str, float]:
        """Return all settings behind `limits`, by name: workers that share an account must agree on them."""
        names = [f"{prefix}_{which}" for prefix in provider_prefixes() for which in ("RATE", "IN_FLIGHT")]
        return {name: getattr(self.settings, name.lower()) for name in names}

    def retention(self, provider: Provider) -> timedelta:
        """Return the lifetime of this provider's links that contain no expiry."""
        return provider.retention or self.settings.link_life

    def callback_url(self, provider: str, attempt_id: str) -> str | None:
        """Return the callback URL; None without PUBLIC_URL: the provider is then polled."""
        if self.settings.public_url is None:
            return None
        return self.signer.callback_url(self.settings.public_url, provider, attempt_id)

    def close(self) -> None:
        """Close the connections of all services."""
        names = ("ledger", "archive", "downloader", "sandbox_downloader")
        for built in map(self.__dict__.get, names):
            if built is not None:
                built.close()


@cache
def services() -> Services:
    return Services(load_settings())


# The connections belong to the parent: a forked worker process opens its own.
os.register_at_fork(after_in_child=services.cache_clear)


#: names of variables with a library's secrets: PGPASSWORD, AWS_SESSION_TOKEN
_SECRET_VARIABLE = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(?:SECRET|ACCESS|PRIVATE|API)_KEY)$")


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Return every secret of the settings and the environment, for redaction.

    If a setting holds several keys: each of them, and the secret part of each. Raises ConfigurationError for an
    unreadable file.
    """
    fields = (getattr(settings, name) for name in type(settings).model_fields)
    secrets = [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]
    keys = [key.strip() for secret in secrets for key in secret.split(",")]
    parts = [key.partition(":")[2].strip() for key in keys]
    passwords = [*passwords_in(settings.database_url or ""), *read_broker_url(settings.redis_url).secrets]
    variables = [value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name.upper())]
    bucket = [value for name, value in bucket_credentials().items() if name != "AWS_ACCESS_KEY_ID"]
    return tuple(filter(None, (*secrets, *keys, *parts, *passwords, *variables, *bucket, *proxy_secrets())))
