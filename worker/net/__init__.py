"""All outgoing traffic: address guard, connections, proxies, TLS trust, deadlines."""

from worker.net.address_guard import AddressGuard, Target, origin_of, remedy_for
from worker.net.addresses import PORTS, connect_to_first, is_private, is_public, read_address
from worker.net.connections import Connection, ConnectionPool, Guard
from worker.net.download_allow import Allowed, check_hosts, is_host_name
from worker.net.egress import (
    ProxyError,
    is_inside,
    is_reached_directly,
    proxies,
    proxy_for,
    proxy_for_url,
    proxy_secrets,
    whole_address,
)
from worker.net.retry_after import read_retry_after
from worker.net.timed_reader import TimedConnection, TimedResponse, TimedTlsConnection
from worker.net.tls import trusted_authorities

__all__ = [
    "PORTS",
    "AddressGuard",
    "Allowed",
    "Connection",
    "ConnectionPool",
    "Guard",
    "ProxyError",
    "Target",
    "TimedConnection",
    "TimedResponse",
    "TimedTlsConnection",
    "check_hosts",
    "connect_to_first",
    "is_host_name",
    "is_inside",
    "is_private",
    "is_public",
    "is_reached_directly",
    "origin_of",
    "proxies",
    "proxy_for",
    "proxy_for_url",
    "proxy_secrets",
    "read_address",
    "read_retry_after",
    "remedy_for",
    "trusted_authorities",
    "whole_address",
]
