"""How the bucket is reached: boto3's client, and the connections that our own signed requests travel on."""

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import urllib3
from botocore.config import Config
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.session import Session
from botocore.utils import get_environ_proxies

from worker.egress import is_reached_directly

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: tries of one request
ATTEMPTS = 3
#: seconds
_CONNECT_TIMEOUT, _READ_TIMEOUT = 3, 15
_CONNECTIONS = 20
#: bytes sent at once, which must leave within the connect timeout on a slow line too
_BLOCK = 64 * 1024


def connect(session: Session) -> "S3Client":
    """A client by the standard `AWS_*` environment. Raises BotoCoreError or ValueError where that makes none."""
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
    configured = session.get_scoped_config().get("s3", {}).get("addressing_style")
    config = Config(
        # Without it boto3 signs links the old way, which other stores refuse.
        signature_version="s3v4",
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        # A store of one's own seldom has a host name for each bucket.
        s3={"addressing_style": configured or ("path" if elsewhere else "auto")},
        response_checksum_validation="when_required",  # we hash what we read ourselves
        # None: those of the environment.
        proxies=_proxies(elsewhere) if elsewhere else None,
    )
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
    return boto3.Session(botocore_session=session).client("s3", region_name=region, config=config)


def transport(endpoint: str, session: Session) -> urllib3.PoolManager:
    """Connections with the certificates and the proxy that boto3 uses for the rest."""
    ca_bundle = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT),
        "maxsize": _CONNECTIONS,
        "blocksize": _BLOCK,
        "ca_certs": ca_bundle or get_cert_path(True),
    }
    proxies = ProxyConfiguration(proxies=_proxies(endpoint))
    proxy = proxies.proxy_url_for(endpoint)
    if not proxy:
        return urllib3.PoolManager(**options)
    return urllib3.ProxyManager(proxy, proxy_headers=proxies.proxy_headers_for(proxy), **options)


def _proxies(endpoint: str) -> dict[str, str]:
    """Those of the environment, but none for a store of one's own in a private network."""
    is_amazon = (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return {} if not is_amazon and is_reached_directly(endpoint) else get_environ_proxies(endpoint)
