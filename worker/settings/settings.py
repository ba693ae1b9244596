"""All settings, read once from the environment (12-factor); secrets also from files named by `NAME_FILE`."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta, tzinfo
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.archive import DEFAULT_TEMPLATE, RESULT_FORMATS, Addressing, Keeping, KeyTemplate
from worker.errors import ConfigurationError
from worker.net import Allowed, check_hosts, proxies
from worker.pricing import Prices, read_zone
from worker.secrets import bucket_credentials, read_keys, read_list, read_secret_file
from worker.settings.broker_url import read_broker_url
from worker.settings.console_proxy import Networks, read_header, read_networks
from worker.settings.env_file import use_env_file
from worker.settings.faults import Unreadable, sentences
from worker.settings.rates import read_rate
from worker.settings.sandbox_url import check_sandbox_url, paid_addresses
from worker.subscribers import FORM, Subscriber, WebhookSigner, celery_tasks, patterns, webhooks


def _read_by(read: Callable[[str], object]) -> AfterValidator:
    """Return a validator that parses the value with `read` but keeps it as given."""

    def check(value: Any) -> Any:
        read(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value

    return AfterValidator(check)


class Environment(PydanticBaseSettingsSource):
    """Reads variables as pydantic-settings does, without checking each time for every type whether it may be JSON."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        given = {name.lower(): value for name, value in os.environ.items() if value}
        return {name: given[name] for name in self.settings_cls.model_fields if name in given}


class SecretFiles(PydanticBaseSettingsSource):
    """`ACEDATACLOUD_API_TOKEN_FILE=/run/secrets/ace` sets the token to that file's text."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return read_secret_file(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: _read_file(name) for name in self.settings_cls.model_fields}
        return {name: value for name, value in values.items() if value is not None}


def _read_file(name: str) -> str | Unreadable | None:
    try:
        return read_secret_file(name)
    except ConfigurationError as error:
        return Unreadable(error)


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_usable = is_usable and len(value.split()) == 1
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(f"{value!r} is not an http:// or https:// address, such as https://darkroom.example.com")
    return value.rstrip("/")


def _digits(value: object) -> object:
    """Convert digits to a number: a Literal of numbers accepts no text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _result_formats(value: str) -> tuple[str, ...]:
    formats = tuple(one.strip().lower() for one in value.split(",") if one.strip())
    for unknown in formats:
        if unknown not in RESULT_FORMATS:
            raise ValueError(f"{unknown!r} is not one of {', '.join(RESULT_FORMATS)}; write for example csv,html")
    return tuple(dict.fromkeys(formats))


HttpUrl = Annotated[str, AfterValidator(_http_url)]
AccountKeys = Annotated[SecretStr, _read_by(read_keys)]


class Settings(BaseSettings):
    # Errors must not show the input: it may be a secret.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # --- standard names ---
    database_url: str | None = None
    redis_url: Annotated[str, _read_by(read_broker_url)] = "redis://127.0.0.1:6379/0"
    s3_bucket: str | None = None
    s3_prefix: str = ""
    s3_key_template: str = DEFAULT_TEMPLATE
    s3_addressing: Addressing = "auto"
    s3_sse: Literal["none", "AES256", "aws:kms"] = "none"
    s3_sse_kms_key_id: str | None = None
    s3_storage_class: str | None = Field(
        default=None, pattern=r"^[A-Z_]+$", description="a storage class in capital letters", examples=["STANDARD_IA"]
    )
    s3_tags: bool = True
    public_url: HttpUrl | None = None
    #: where people open the private process
    console_url: HttpUrl | None = None
    port: int = Field(default=8000, ge=1, le=65535)
    #: of the private process; without a port, 8001 or the next free one
    api_host: Annotated[str, _read_by(ip_address)] = "127.0.0.1"
    api_port: int | None = Field(
        default=None, ge=1, le=65535, description="a port number from 1 to 65535", examples=[8001]
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    # --- Darkroom's own ---
    #: rate limit for each API token without its own; the default is not validated, because it is correct and its parser
    #: would take 2 MB in every process
    darkroom_api_rate: Annotated[str, _read_by(read_rate)] = Field(default="300/second", validate_default=False)
    #: the header in which a proxy identifies console users; the proxy's networks; the role of people who are not users
    darkroom_console_proxy_header: Annotated[str, _read_by(read_header)] | None = None
    darkroom_console_proxy_networks: Annotated[str, _read_by(read_networks)] = ""
    darkroom_console_proxy_role: Literal["viewer", "operator"] = "viewer"
    darkroom_data: Path = Path("darkroom-data")
    darkroom_signing_keys: SecretStr | None = None
    darkroom_download_allow: Annotated[str, _read_by(Allowed)] = ""
    #: seconds without a single byte after which a download is aborted; minimum average bytes per second after the first
    #: minute
    darkroom_stall_seconds: float = Field(default=30, ge=1, le=30)
    darkroom_least_bytes_per_second: float = Field(default=100, ge=0)
    #: how downloads identify themselves; if a server refuses with 403, they try once more as a browser
    darkroom_user_agent: str | None = Field(
        default=None,
        pattern=r"^[!-~](?:[ -~]{0,298}[!-~])?$",
        description="1 to 300 ASCII characters",
        examples=["darkroom (me@example.com)"],
    )
    darkroom_confirm: Literal["always", "unsigned", "never"] = "never"
    #: minutes after which the search for an unconfirmed submission ends and it waits for a person
    darkroom_horizon_minutes: float = Field(default=60, gt=0, le=10_080)
    #: seconds of silence before a submitted generation is first polled, if a callback is expected and the usual
    #: duration of such generations is not yet known
    darkroom_poll_seconds: float = Field(default=120, gt=0, le=86_400)
    #: hours that a link lives if neither the link nor its provider's pages say; Discord's newer links live 24. This
    #: guess determines which links go first, and never ends anything
    darkroom_link_hours: float = Field(default=24, gt=0, le=10_000)
    #: days for which an asset is retried, unless its link has certainly expired
    darkroom_give_up_days: float = Field(default=15, gt=0, le=3650)
    #: hours before expiry at which an asset that is not stored counts as at risk: it is reported, and reserved threads
    #: fetch it
    darkroom_at_risk_hours: float = Field(default=2, gt=0, le=1000)
    #: a statement in the file itself that a model made it; xmp changes the bytes of images, but not their pixels
    darkroom_provenance: Literal["off", "xmp"] = "off"
    #: gigabytes of refused files to keep in the bucket for review and `darkroom accept`; beyond that, none are kept
    darkroom_rejected_gb: float = Field(default=5, ge=0, le=100_000)
    #: formats in which a complete batch's results are stored beside its manifest, separated by commas
    darkroom_batch_results: Annotated[str, _read_by(_result_formats)] = ""
    #: do not store bytes again that another generation has already stored
    darkroom_deduplicate: bool = False
    #: store a thumbnail beside each stored image
    darkroom_thumbnails: bool = True
    #: the file with prices and caps (`deploy/prices.example.yaml`); without it, nothing has a price
    darkroom_prices: Path | None = None
    #: the time zone that defines the days of caps and of `darkroom spend`
    darkroom_timezone: Annotated[str, _read_by(read_zone)] = "UTC"
    #: days for which applied callbacks, delivered events and dead links are kept; 0 keeps them forever
    darkroom_keep_days: float = Field(default=30, ge=0, le=36_500)
    #: the folder with recipes, as NAME.yaml
    darkroom_recipes: Path | None = None
    #: where `darkroom sandbox` serves test generations; without it, there are none
    darkroom_sandbox_url: Annotated[HttpUrl, _read_by(check_sandbox_url)] | None = None
    darkroom_max_depth: int = Field(default=3, ge=0)
    darkroom_max_follow_ups: int = Field(default=16, ge=0)

    # --- subscribers ---
    #: addresses that receive each event as a signed webhook (Standard Webhooks); secret, since they may contain a token
    darkroom_notify_urls: Annotated[SecretStr, _read_by(webhooks)] | None = None
    darkroom_notify_secret: Annotated[SecretStr, _read_by(WebhookSigner)] | None = None
    #: hosts and networks, besides public https, that a submission's `notify` address may reach
    darkroom_notify_allow: Annotated[str, _read_by(Allowed)] = ""
    #: Celery tasks that receive each event through the broker, each with its queue: `task@queue`
    darkroom_notify_tasks: Annotated[str, _read_by(celery_tasks)] = ""
    #: which kinds of events subscribers receive
    darkroom_notify_events: Annotated[str, _read_by(patterns)] = "*"
    #: record `generation.progress` too, which providers report several times per generation
    darkroom_progress_events: bool = False

    # --- providers: one key each, or keys of several accounts; rate and in-flight limits apply per account ---
    acedatacloud_api_token: AccountKeys | None = None
    acedatacloud_base_url: HttpUrl = "https://api.acedata.cloud"
    #: new submissions per second, and submissions in flight; Ace Data Cloud publishes no figures
    acedatacloud_rate: float = Field(default=10, gt=0, le=1_000_000)
    acedatacloud_in_flight: int = Field(default=100, ge=1)

    kie_api_key: AccountKeys | None = None
    kie_base_url: HttpUrl = "https://api.kie.ai"
    kie_webhook_hmac_key: Annotated[SecretStr, _read_by(read_list)] | None = None
    #: seconds by which a signed callback's timestamp may differ; Kie once documented retries up to 21 minutes later
    kie_webhook_window: float = Field(default=1800, gt=0)
    #: Kie's number for the first of four images in a variation: its examples say 1, its schema says 0
    kie_vary_base: Annotated[Literal[0, 1], BeforeValidator(_digits)] = 1
    #: documented: 20 new requests in 10 seconds, about 100 in flight; after a pause, one or two go at once
    kie_rate: float = Field(default=1.8, gt=0, le=1_000_000)
    kie_in_flight: int = Field(default=100, ge=1)

    ohmygpt_api_key: AccountKeys | None = None
    ohmygpt_base_url: HttpUrl = "https://api.ohmygpt.com"
    ohmygpt_encoding: Literal["form", "json"] = "form"
    #: no figures are published
    ohmygpt_rate: float = Field(default=5, gt=0, le=1_000_000)
    ohmygpt_in_flight: int = Field(default=50, ge=1)

    #: the address of the proxy or relay, without `/mj`; no default, since everybody runs their own
    mjproxy_base_url: HttpUrl | None = None
    mjproxy_api_secret: AccountKeys | None = None
    mjproxy_change: Literal["change", "simple-change"] = "change"
    #: how an imagine's speed is chosen: by `--turbo` in the prompt, or, for relays that bill by it, by the path
    #: (`/mj-turbo/mj/…`) or the field `accountFilter`
    mjproxy_speed: Literal["flag", "path", "filter"] = "flag"
    #: hosts, besides Discord's, that the proxy's result links may point to, separated by commas
    mjproxy_result_hosts: Annotated[str, _read_by(check_hosts)] = ""
    #: the proxy's own defaults: three at once and ten waiting
    mjproxy_rate: float = Field(default=2, gt=0, le=1_000_000)
    mjproxy_in_flight: int = Field(default=13, ge=1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, Environment(settings_cls), SecretFiles(settings_cls)

    @field_validator("s3_key_template")
    @classmethod
    def _gives_each_asset_its_key(cls, value: str) -> str:
        KeyTemplate(value)
        return value

    @field_validator("s3_storage_class")
    @classmethod
    def _can_be_read_at_once(cls, value: str | None) -> str | None:
        if value in {"GLACIER", "DEEP_ARCHIVE"}:
            raise ValueError(f"reading objects in {value} takes hours: use GLACIER_IR, or a lifecycle rule")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if found := "\n".join(self._contradictions()):
            raise ValueError(found)
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.public_url and not self.darkroom_signing_keys:
            yield (
                "PUBLIC_URL is set, so providers will call back, but DARKROOM_SIGNING_KEYS is not: "
                "set it to `k1:` and at least 32 random characters, or start `darkroom up`, which creates its own"
            )
        if self.console_url and not self.darkroom_signing_keys:
            yield (
                "CONSOLE_URL is set, so links to approvals are sent, but DARKROOM_SIGNING_KEYS is not: "
                "set it to `k1:` and at least 32 random characters, or start `darkroom up`, which creates its own"
            )
        if self.darkroom_console_proxy_header:
            if not read_networks(self.darkroom_console_proxy_networks):
                yield (
                    "DARKROOM_CONSOLE_PROXY_HEADER is set, but DARKROOM_CONSOLE_PROXY_NETWORKS is not, so anybody "
                    "could "
                    "send that header: set it to the address from which your proxy connects, such as 10.0.0.7"
                )
            if not self.console_url:
                yield (
                    "DARKROOM_CONSOLE_PROXY_HEADER is set, but CONSOLE_URL is not: set it to the address at which your "
                    "proxy serves the console"
                )
        if self.darkroom_notify_urls and not self.darkroom_notify_secret:
            yield f"DARKROOM_NOTIFY_URLS is set, but DARKROOM_NOTIFY_SECRET is not: {FORM}"
        if self.darkroom_sandbox_url:
            base_urls = {
                f"{prefix}_BASE_URL": getattr(self, f"{prefix.lower()}_base_url") for prefix in provider_prefixes()
            }
            for name in paid_addresses(self.darkroom_sandbox_url, base_urls):
                yield f"DARKROOM_SANDBOX_URL is the address of {name}: a test must not reach a provider; change it"
        if self.s3_sse_kms_key_id and self.s3_sse != "aws:kms":
            yield f"S3_SSE_KMS_KEY_ID is set, but S3_SSE is {self.s3_sse}: set it to aws:kms"

    @property
    def s3_keeping(self) -> Keeping:
        encryption = None if self.s3_sse == "none" else self.s3_sse
        return Keeping(encryption, self.s3_sse_kms_key_id, self.s3_storage_class, self.s3_tags)

    @property
    def console_host(self) -> str:
        """Return the host of CONSOLE_URL as browsers send it; empty if it is not set."""
        parts = urlsplit((self.console_url or "").lower())
        usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
        return parts.netloc.removesuffix(usual) if usual else parts.netloc

    @property
    def console_proxies(self) -> Networks:
        """Return the networks from which the console's proxy connects."""
        return read_networks(self.darkroom_console_proxy_networks)

    @property
    def sandbox_url(self) -> str:
        """Return where tests go. Raises ConfigurationError if it is not set."""
        if self.darkroom_sandbox_url is None:
            raise ConfigurationError(
                "tests need the sandbox, but DARKROOM_SANDBOX_URL is not set: start `darkroom up`, which includes it; "
                "or run `darkroom sandbox`, set DARKROOM_SANDBOX_URL to its address, and restart the api and the "
                "workers"
            )
        return self.darkroom_sandbox_url

    @property
    def ledger_url(self) -> str:
        """Return the URL of the database of record; by default, an SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.darkroom_data.absolute() / 'ledger.sqlite3'}"

    @property
    def link_life(self) -> timedelta:
        return timedelta(hours=self.darkroom_link_hours)

    @property
    def subscribers(self) -> list[Subscriber]:
        """Return all subscribers to events."""
        urls = self.darkroom_notify_urls
        return [*webhooks(urls.get_secret_value() if urls else ""), *celery_tasks(self.darkroom_notify_tasks)]

    def read_prices(self, providers: Collection[str]) -> Prices | None:
        """Read the price file for these providers. Raises ConfigurationError for an invalid file."""
        if self.darkroom_prices is None:
            return None
        # Imported here, because without prices YAML would only cost time and memory.
        from worker.pricing.price_file import load_prices  # noqa: PLC0415

        return replace(load_prices(self.darkroom_prices, providers), zone=self.zone)

    @property
    def batch_results(self) -> tuple[str, ...]:
        return _result_formats(self.darkroom_batch_results)

    @property
    def zone(self) -> tzinfo:
        return read_zone(self.darkroom_timezone)

    @property
    def give_up_after(self) -> timedelta:
        return timedelta(days=self.darkroom_give_up_days)

    @property
    def at_risk(self) -> timedelta:
        return timedelta(hours=self.darkroom_at_risk_hours)

    @property
    def keep(self) -> timedelta | None:
        """Return how long finished rows are kept; None: forever."""
        return timedelta(days=self.darkroom_keep_days) if self.darkroom_keep_days else None

    @property
    def horizon(self) -> timedelta:
        return timedelta(minutes=self.darkroom_horizon_minutes)

    @property
    def poll_after(self) -> timedelta:
        """Return how long a submitted generation may be silent before it is polled, until durations are learned."""
        return timedelta(seconds=self.darkroom_poll_seconds if self.public_url else min(5, self.darkroom_poll_seconds))


def provider_prefixes() -> tuple[str, ...]:
    """Return the upper-case prefix of each provider's settings: KIE for `KIE_IN_FLIGHT`."""
    names = Settings.model_fields
    return tuple(name.removesuffix("_in_flight").upper() for name in names if name.endswith("_in_flight"))


@cache
def secret_names() -> frozenset[str]:
    """Return the variables that contain only a secret."""
    fields = Settings.model_fields
    return frozenset(name.upper() for name, field in fields.items() if _holds_secret(field.annotation))


@cache
def account_key_names() -> frozenset[str]:
    """Return the variables that contain the keys of a provider's accounts."""
    fields = Settings.model_fields
    return frozenset(name.upper() for name, field in fields.items() if AccountKeys in get_args(field.annotation))


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def load_settings() -> Settings:
    """Read the environment. Raises ConfigurationError with one line per invalid setting."""
    use_env_file()
    faults: list[str] = []
    # Others read the settings of the bucket and proxies later, where a wrong one would give no clear message.
    for read in (bucket_credentials, proxies):
        try:
            read()
        except ConfigurationError as error:
            faults.append(str(error))
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        faults += _faults_of(error)
    if settings is None or faults:
        # Without a cause, which would show the input.
        raise ConfigurationError("\n".join(faults))
    return settings


def settings_with(values: Mapping[str, str]) -> Settings:
    """Return the settings if the environment also had these values. Raises ConfigurationError like `load_settings`."""
    given: dict[str, Any] = {name.lower(): value for name, value in values.items()}
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = list(_faults_of(error))
    raise ConfigurationError("\n".join(faults))


def _faults_of(error: ValidationError) -> Iterator[str]:
    fields = Settings.model_fields
    yield from sentences(error, fields)
    wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
    if wrong:
        # Contradictions are only found among valid settings, so replace the invalid ones with their defaults.
        try:
            Settings(**{name: fields[name].default for name in wrong})
        except ValidationError as others:
            yield from sentences(others, fields)
