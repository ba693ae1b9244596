"""The bucket's address, as determined by boto3, and the connections for our own requests."""

import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore.config import Config
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.session import Session
from botocore.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection

from worker.archive.keeping import Addressing
from worker.archive.service_data import load_less
from worker.net import TimedConnection, is_reached_directly
from worker.secrets import bucket_credentials

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: tries per request
ATTEMPTS = 3
#: seconds to connect; seconds for a response's header and for each read of its body
_CONNECT_TIMEOUT, _READ_TIMEOUT = 3, 15
#: seconds for a response's body; bytes that extend this limit by one second
_BODY_TIMEOUT, _LEAST_RATE = 5, 16 * 1024
_CONNECTIONS = 20
#: bytes per send; each block must be sent within the connect timeout even on a slow line
_BLOCK = 64 * 1024


class Addresses:
    """The addresses of a bucket's objects; thread-safe. Raises BotoCoreError or ValueError."""

    def __init__(self, session: Session, bucket: str, addressing: Addressing, client: "S3Client | None") -> None:
        self._session, self._bucket = session, bucket
        load_less(session)
        credentials = bucket_credentials()
        key_id, secret = credentials.get("AWS_ACCESS_KEY_ID"), credentials.get("AWS_SECRET_ACCESS_KEY")
        if key_id and secret and any(os.environ.get(f"{name}_FILE") for name in credentials):
            # From `NAME_FILE` settings, which boto3 does not know.
            session.set_credentials(key_id, secret, credentials.get("AWS_SESSION_TOKEN"))
        self._boto3 = boto3.Session(botocore_session=session)
        configured = session.get_scoped_config().get("s3", {}).get("addressing_style")
        elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
        # A self-hosted store rarely has a host name per bucket.
        by_itself: Addressing = configured or ("path" if elsewhere else "auto")
        self.client = client or self._signer(by_itself if addressing == "auto" else addressing)
        #: whether the store may still turn out to require the bucket's name in the host, and whether it has
        self.may_change = client is None and addressing == "auto" and by_itself == "path"
        self.has_changed = False
        self._base: str | None = None
        self._lock = threading.Lock()

    @property
    def base(self) -> str:
        """Return the common prefix of the bucket's addresses."""
        with self._lock:
            if self._base is None:
                # boto3 decides; the prefix of its address for one key holds for all keys.
                probe = self.client.generate_presigned_url("put_object", Params={"Bucket": self._bucket, "Key": "k"})
                self._base = probe.partition("?")[0].removesuffix("k")
            return self._base

    def change(self) -> None:
        """Switch to addresses that have the bucket's name in the host."""
        with self._lock:
            if self.may_change:
                self.may_change, self.has_changed = False, True
                self.client, self._base = self._signer("virtual"), None

    def _signer(self, style: Addressing) -> "S3Client":
        """Return a client from the `AWS_*` environment, only for addresses and signed links: `SignedRequests` sends."""
        # Without this version, boto3 signs links in the old format, which other stores refuse.
        config = Config(signature_version="s3v4", s3={"addressing_style": style})
        region = self._session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
        return self._boto3.client("s3", region_name=region, config=config)


def transport(endpoint: str, session: Session) -> urllib3.PoolManager:
    """Return a pool with the same certificates and proxy as boto3."""
    ca_bundle = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT),
        "maxsize": _CONNECTIONS,
        "blocksize": _BLOCK,
        "ca_certs": ca_bundle or get_cert_path(True),
    }
    proxies = ProxyConfiguration(proxies=_proxies(endpoint))
    proxy = proxies.proxy_url_for(endpoint)
    if proxy:
        options["proxy_headers"] = proxies.proxy_headers_for(proxy)
    manager = urllib3.ProxyManager(proxy, **options) if proxy else _Direct(**options)
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return manager


class _Direct(urllib3.PoolManager):
    """Sends the URL as it was signed, which urllib3 would rewrite, and looks up an origin's connections only once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._of_origin: dict[str, urllib3.HTTPConnectionPool] = {}

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = False, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        path = url.index("/", url.index("//") + 2)
        origin = url[:path]
        pool = self._of_origin.get(origin)
        if pool is None:
            pool = self._of_origin[origin] = self.connection_from_url(origin)
        return pool.urlopen(method, url[path:], redirect=redirect, assert_same_host=False, **options)

    def clear(self) -> None:
        self._of_origin.clear()
        super().clear()


class _StoreConnection(TimedConnection):
    body_timeout = _BODY_TIMEOUT
    rate = _LEAST_RATE


class _PlainConnection(_StoreConnection, HTTPConnection):
    pass


class _TlsConnection(_StoreConnection, HTTPSConnection):
    pass


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _proxies(endpoint: str) -> dict[str, str]:
    """Return the environment's proxies, or none for a self-hosted store in a private network."""
    is_amazon = (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return {} if not is_amazon and is_reached_directly(endpoint) else get_environ_proxies(endpoint)
