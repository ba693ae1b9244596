"""What the steps of the flow work with, built from the settings on first use, once per process."""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from threading import Lock

from pydantic import SecretStr

from worker.archive import Archive, Keys, open_archive
from worker.correlation import Signer
from worker.downloads import Downloader
from worker.downloads import Limits as DownloadLimits
from worker.errors import ConfigurationError
from worker.ledger import Ledger
from worker.ledger.database import Clock, passwords_in
from worker.ledger.dispatch import Limits
from worker.net import proxy_secrets
from worker.pricing import Prices
from worker.providers import PROVIDERS, Provider, account_keys, load_provider, provider_class
from worker.runtime import locked_cached_property
from worker.secrets import bucket_credentials, key_mark
from worker.settings import Settings, load_settings, provider_prefixes, read_broker_url


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
        """The ledger's: whatever is compared with its times, or is to be right on a machine whose own clock is not."""
        return self.ledger.database.clock

    @locked_cached_property
    def prices(self) -> Prices | None:
        return self.settings.read_prices(PROVIDERS)

    @locked_cached_property
    def archive(self) -> Archive:
        if self.settings.s3_bucket is None:
            raise ConfigurationError(
                "S3_BUCKET is not set: name the bucket that keeps the pictures, "
                "or start `darkroom up`, which brings its own"
            )
        keys = Keys(self.settings.s3_prefix, self.settings.s3_key_template)
        return open_archive(self.settings.s3_bucket, keys, self.settings.s3_keeping, self.settings.s3_addressing)

    @locked_cached_property
    def downloader(self) -> Downloader:
        settings = self.settings
        limits = DownloadLimits(read=settings.darkroom_stall_seconds, least=settings.darkroom_least_bytes_per_second)
        return Downloader(settings.darkroom_download_allow, limits, settings.darkroom_user_agent)

    @locked_cached_property
    def signer(self) -> Signer:
        if self.settings.darkroom_signing_keys is None:
            raise ConfigurationError("DARKROOM_SIGNING_KEYS is not set: without it no callback can be authenticated")
        return Signer(self.settings.darkroom_signing_keys.get_secret_value())

    def provider(self, name: str, account: str | None = None) -> Provider:
        """As one of its accounts uses it; without an account as the first does, for what is the same for all.

        Raises ConfigurationError for a name that nobody has, or an account without its key.
        """
        if name not in PROVIDERS:
            raise ConfigurationError(f"unknown provider {name!r}; expected one of {', '.join(PROVIDERS)}")
        with self._loading:
            if (name, account) not in self._providers:
                self._providers[name, account] = load_provider(name, self.settings, account)
            return self._providers[name, account]

    def accounts(self, name: str) -> tuple[str, ...]:
        """The names of its accounts; one, also where it has no key."""
        return tuple(account_keys(name, self.settings))

    def key_marks(self, name: str) -> Mapping[str, str]:
        """Account → what tells its key, and where it is sent, from any other."""
        address = getattr(self.settings, f"{provider_class(name).prefix}_base_url")
        keys = account_keys(name, self.settings)
        return {one: key_mark(key.get_secret_value() if key else None, address) for one, key in keys.items()}

    def limits(self, name: str) -> Limits:
        """How fast each account of this provider may be used (`<PREFIX>_RATE`, `<PREFIX>_IN_FLIGHT`)."""
        prefix = provider_class(name).prefix
        return Limits(getattr(self.settings, f"{prefix}_rate"), getattr(self.settings, f"{prefix}_in_flight"))

    @property
    def limit_settings(self) -> dict[str, float]:
        """All settings of `limits`, by name: one account is used by all workers, who must not differ about it."""
        names = [f"{prefix}_{which}" for prefix in provider_prefixes() for which in ("RATE", "IN_FLIGHT")]
        return {name: getattr(self.settings, name.lower()) for name in names}

    def retention(self, provider: Provider) -> timedelta:
        """How long a link of this provider lives that does not say so itself."""
        return provider.retention or self.settings.link_life

    def callback_url(self, provider: str, attempt_id: str) -> str | None:
        """None without PUBLIC_URL: then the provider is polled."""
        if self.settings.public_url is None:
            return None
        return self.signer.callback_url(self.settings.public_url, provider, attempt_id)

    def close(self) -> None:
        """Close the connections of what was built."""
        for built in (self.__dict__.get(name) for name in ("ledger", "archive", "downloader")):
            if built is not None:
                built.close()


@cache
def services() -> Services:
    return Services(load_settings())


# What the parent opened belongs to the parent: a forked worker process builds its own.
os.register_at_fork(after_in_child=services.cache_clear)


#: what a variable is called that holds a secret of a library: PGPASSWORD, AWS_SESSION_TOKEN
_SECRET_VARIABLE = re.compile(r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|(?:SECRET|ACCESS|PRIVATE|API)_KEY)$")


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Every secret of the settings and of the environment, for the log's redaction.

    Of several keys each, and of each its secret part. Raises ConfigurationError for a file that cannot be read.
    """
    fields = (getattr(settings, name) for name in type(settings).model_fields)
    secrets = [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]
    keys = [key.strip() for secret in secrets for key in secret.split(",")]
    parts = [key.partition(":")[2].strip() for key in keys]
    passwords = [*passwords_in(settings.database_url or ""), *read_broker_url(settings.redis_url).secrets]
    variables = [value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name.upper())]
    bucket = [value for name, value in bucket_credentials().items() if name != "AWS_ACCESS_KEY_ID"]
    return tuple(filter(None, (*secrets, *keys, *parts, *passwords, *variables, *bucket, *proxy_secrets())))
